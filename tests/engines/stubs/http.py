"""What both stub servers are made of: real sockets on 127.0.0.1, and an engine behind them."""

from __future__ import annotations

import contextlib
import json
import queue
import select
import socket
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from airust.engines.base import Engine
from airust.engines.text import ChatTokenizer
from airust.types import DoneEvent, ErrorEvent, Event, Request


@dataclass
class Failure:
    """An answer that is an error."""

    status: int
    body: dict[str, Any] | str = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class Stub(ThreadingHTTPServer):
    """A server that runs requests in an engine, and goes wrong when it is told to."""

    handler: type[StubHandler]

    def __init__(self, engine: Engine, tokenizer: ChatTokenizer, model: str, context: int) -> None:
        super().__init__(("127.0.0.1", 0), self.handler)
        self.engine, self.tokenizer = engine, tokenizer
        self.model, self.context = model, context
        self.bodies: list[dict[str, Any]] = []  # of the requests for an answer
        self.failures: deque[Failure] = deque()  # given out before answers
        self.break_after: int | None = None  # chunks; then the connection is cut
        self.chunk_bytes: int | None = None  # cut what is sent into pieces of this size
        self.go = threading.Event()  # answers wait for it
        self.go.set()
        self.pause_after = 0  # tokens that come before they wait
        self.reason: str | None = None  # why every answer ends; "" = nothing is said
        self.fault: str | None = None  # an error that comes after the first token
        self.active = self.most_active = 0  # answers under way
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.go.set()
        self.shutdown()
        with self._lock:
            for connection in self._connections:  # clients keep them alive
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no news."""

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """An answer under way takes one slot of the server."""
        with self._lock:
            self.active += 1
            self.most_active = max(self.active, self.most_active)
        try:
            yield
        finally:
            with self._lock:
                self.active -= 1


class StubHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 with connections that stay open."""

    server: Stub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def body(self) -> dict[str, Any]:
        found = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(found, dict)
        return found

    def send_json(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        data = text.encode()
        self.send_response(status)
        kind = "text/html" if isinstance(body, str) else "application/json"
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def fails(self) -> bool:
        """Whether this request is to fail, and does."""
        if not self.server.failures:
            return False
        failure = self.server.failures.popleft()
        self.send_json(failure.status, failure.body, failure.headers)
        return True

    def begin(self, kind: str) -> None:
        """The head of an answer of unknown length."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.sent = 0

    def chunk(self, data: bytes) -> None:
        """A part of it."""
        if self.sent == self.server.break_after:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.sent += 1
        size = self.server.chunk_bytes or len(data)
        for start in range(0, len(data), size):
            part = data[start : start + size]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def events(self, request: Request) -> Iterator[Event]:
        """Run a request for as long as the client is there."""
        inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        handle = self.server.engine.submit(request, inbox.put)
        try:
            with self.server.counted():
                event: Event | None = None
                count = 0
                while not isinstance(event, DoneEvent | ErrorEvent) and not self._gone():
                    if count == self.server.pause_after and not self.server.go.wait(0.01):
                        continue
                    with contextlib.suppress(queue.Empty):
                        event = inbox.get(timeout=0.02)
                        count += 1
                        yield event
        finally:
            handle.cancel()

    def _gone(self) -> bool:
        """Whether the client closed the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
