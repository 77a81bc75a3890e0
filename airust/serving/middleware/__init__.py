"""What happens to every request before a route sees it, and to every response after.

Pure ASGI, one class a concern: Starlette's BaseHTTPMiddleware would hide from a route that its
client has gone, and cost a task and a queue for every piece of a stream. From the outside in:

    front    request id, log line, metrics, security headers, the last catch of failures
    cors     Starlette's own
    caps     sizes and arrival time
    gate     draining, keys, limits
"""
