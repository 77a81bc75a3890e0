"""The outermost layer: names every request, times it, logs it, and catches what nobody caught."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airust.serving.api.health import PROBES
from airust.serving.errors import as_api_error
from airust.serving.logs import request_id
from airust.serving.service import Service
from airust.serving.tracing import Tracer

log = logging.getLogger("airust.serving.access")

GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # a caller's own id; others could forge log lines
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; connect-src 'self'; object-src 'none'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


class Front:
    """See the module."""

    def __init__(self, app: ASGIApp, service: Service, tracer: Tracer) -> None:
        self._app, self._service, self._tracer = app, service, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            request_id.set(_name(Headers(scope=scope)))
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        ident = _name(Headers(scope=scope))
        request_id.set(ident)
        probe, start, status = scope["path"] in PROBES, time.perf_counter(), 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *SECURITY]
                message["headers"].append((b"x-request-id", ident.encode()))
            await send(message)

        self._service.in_flight += not probe
        try:
            with self._tracer.request(scope) as span:
                try:
                    await self._app(scope, receive, named)
                except Exception as error:
                    answer = as_api_error(error)
                    if status:  # a part of the answer is on its way: only closing tells
                        raise
                    await answer.send(scope, receive, named)
                finally:
                    span.end(route_of(scope), status)
        finally:
            self._service.in_flight -= not probe
            if not probe:
                self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        metrics = self._service.metrics
        metrics.served(scope["method"] if route else "", route, status, seconds)
        if status >= 400:
            metrics.failed(route, status, scope.get("airust.code", ""))
        fields: dict[str, Any] = {
            "method": scope["method"],
            "route": route or scope["path"][:200],
            "status": status,
            "ms": round(seconds * 1000, 1),
            "caller": scope.get("airust.caller_name", ""),
        }
        log.info("request", extra=fields)


def route_of(scope: Scope) -> str:
    """The route's template, not the path: paths would make a metric for each session."""
    path = getattr(scope.get("route"), "path", "")
    return path if isinstance(path, str) else ""


def _name(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if GOOD_ID.fullmatch(given) else f"req-{secrets.token_hex(8)}"


def add_headers(message: Message, values: dict[str, str]) -> None:
    """Put headers on a response that is about to start."""
    headers = MutableHeaders(raw=message["headers"])
    for name, value in values.items():
        headers[name] = value
    message["headers"] = headers.raw
