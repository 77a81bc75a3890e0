"""HTTP requests and WebSockets through a channel of messages, straight into an ASGI app.

The front end in a notebook has no server to talk to, only the widget's comm. Its ``fetch`` and
its sockets travel through it as small messages, and here they become the scopes and events of
ASGI, so that the app cannot tell a notebook from a browser.

From the front end, one message each; ``id`` is unique over all views of the widget:

    {"kind": "http", "id", "method", "path", "headers": [[name, value]], "body": text or null}
    {"kind": "abort", "id"}                  the client of a request hangs up
    {"kind": "open", "id", "path"}           a WebSocket; path begins with / and has the query
    {"kind": "text", "id", "text"}
    {"kind": "close", "id", "code"}
    {"kind": "leave", "view"}                a view is gone: what it began, ids "VIEW:...", ends

To the front end, several in one message, ``{"kind": "batch", "items": [...]}``:

    {"kind": "head", "id", "status", "headers"}
    {"kind": "body", "id", "buffer": n, "end": bool}     bytes in the n-th buffer
    {"kind": "failed", "id", "message"}                  the app broke before or in the answer
    {"kind": "opened", "id"}    {"kind": "text", "id", "text"}
    {"kind": "closed", "id", "code", "reason"}

A burst of tokens is one message: Jupyter's server drops clients that are sent more than a
thousand a second (``iopub_msg_rate_limit``).
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp

log = logging.getLogger(__name__)

Item = dict[str, Any]
SendBatch = Callable[[Item, list[bytes]], object]
Event = MutableMapping[str, Any]

SPACING_S = 0.016  # between two batches: about a frame of the screen
HOST = b"notebook"
NORMAL, ABNORMAL = 1000, 1011


class Tunnel:
    """Serves the views of one widget. All methods belong to the event loop's thread.

    Args:
        app: the application; its lifespan is the caller's business.
        send: takes a batch and its buffers to the front end; it must return quickly.
    """

    def __init__(self, app: ASGIApp, send: SendBatch) -> None:
        self._app = app
        self._outbox = Outbox(send)
        self._open: dict[str, _Exchange] = {}

    @property
    def open_exchanges(self) -> int:
        """Requests being answered, and sockets."""
        return len(self._open)

    def receive(self, message: Item) -> None:
        """A message of the front end. What makes no sense is dropped: it may be of an old view."""
        kind, ident = message.get("kind"), str(message.get("id", ""))
        if kind in ("http", "open") and ident and ident not in self._open:
            self._begin(kind, ident, message)
        elif kind == "leave":
            view = f"{message.get('view')}:"
            for other in [name for name in self._open if name.startswith(view)]:
                self._open[other].hang_up(NORMAL)
        elif (exchange := self._open.get(ident)) is not None:
            if kind == "text":
                exchange.hear({"type": "websocket.receive", "text": str(message.get("text", ""))})
            elif kind in ("abort", "close"):
                exchange.hang_up(int(message.get("code") or NORMAL))

    async def close(self) -> None:
        """Hang up everywhere, and wait until the app has noticed."""
        exchanges = list(self._open.values())
        for exchange in exchanges:
            exchange.hang_up(ABNORMAL)
        await asyncio.gather(*(exchange.task for exchange in exchanges), return_exceptions=True)
        self._outbox.flush()

    def _begin(self, kind: str, ident: str, message: Item) -> None:
        make: type[_Exchange] = _Request if kind == "http" else _Socket
        exchange = make(self._app, self._outbox, ident, message)
        self._open[ident] = exchange
        exchange.task.add_done_callback(lambda _: self._open.pop(ident, None))


class Outbox:
    """Gathers what goes to the front end; the first item of a pause leaves at once."""

    def __init__(self, send: SendBatch) -> None:
        self._send = send
        self._items: list[Item] = []
        self._buffers: list[bytes] = []
        self._waiting: asyncio.TimerHandle | None = None
        self._sent_at = 0.0

    def put(self, item: Item, body: bytes | None = None) -> None:
        """Add an item, with the bytes that belong to it."""
        if body is not None:
            item["buffer"] = len(self._buffers)
            self._buffers.append(body)
        self._items.append(item)
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_at(self._sent_at + SPACING_S, self.flush)

    def flush(self) -> None:
        """Send what there is."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if not self._items:
            return
        self._sent_at = asyncio.get_running_loop().time()
        items, self._items = self._items, []
        buffers, self._buffers = self._buffers, []
        try:
            self._send({"kind": "batch", "items": items}, buffers)
        except Exception:  # the comm has closed under us; the views have gone with it
            log.exception("A batch could not be sent to the notebook.")


class _Exchange(ABC):
    """A request or a socket: the app's task, and what the client says."""

    def __init__(self, app: ASGIApp, outbox: Outbox, ident: str, message: Item) -> None:
        self._outbox, self._id = outbox, ident
        self._heard: asyncio.Queue[Event] = asyncio.Queue()
        self._begin(message)
        scope = self._scope(message)
        self.task = asyncio.get_running_loop().create_task(self._serve(app, scope))

    def hear(self, event: Event) -> None:
        """Something from the client."""
        self._heard.put_nowait(event)

    @abstractmethod
    def hang_up(self, code: int) -> None:
        """The client has gone."""

    async def _serve(self, app: ASGIApp, scope: Event) -> None:
        try:
            await app(scope, self._heard.get, self._answer)
            self._ended()
        except Exception as error:
            log.exception("The app failed in a notebook.")
            self._failed(error)

    def _say(self, kind: str, body: bytes | None = None, **values: Any) -> None:
        self._outbox.put({"kind": kind, "id": self._id, **values}, body)

    def _scope(self, message: Item) -> dict[str, Any]:
        target = urlsplit(str(message.get("path", "/")))
        path = unquote(target.path)
        given = [(str(n).lower().encode(), str(v).encode()) for n, v in message.get("headers", ())]
        return {
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "path": path,
            "raw_path": target.path.encode(),
            "query_string": target.query.encode(),
            "root_path": "",
            "headers": [(b"host", HOST), *given],
            "client": ("127.0.0.1", 0),
            "server": (HOST.decode(), 80),
            "state": {},
        }

    @abstractmethod
    def _begin(self, message: Item) -> None:
        """What the client says first."""

    @abstractmethod
    async def _answer(self, event: Event) -> None:
        """What the app says."""

    @abstractmethod
    def _ended(self) -> None:
        """The app has returned."""

    @abstractmethod
    def _failed(self, error: Exception) -> None:
        """The app has raised."""


class _Request(_Exchange):
    """One HTTP request."""

    def _begin(self, message: Item) -> None:
        self._over = False
        body = str(message.get("body") or "").encode()
        self.hear({"type": "http.request", "body": body, "more_body": False})

    def _scope(self, message: Item) -> dict[str, Any]:
        method = str(message.get("method", "GET")).upper()
        return super()._scope(message) | {"type": "http", "scheme": "http", "method": method}

    def hang_up(self, code: int) -> None:
        self.hear({"type": "http.disconnect"})

    async def _answer(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            headers = [[n.decode("latin-1"), v.decode("latin-1")] for n, v in event["headers"]]
            self._say("head", status=event["status"], headers=headers)
        elif event["type"] == "http.response.body":
            self._over = not event.get("more_body", False)
            self._say("body", bytes(event.get("body", b"")), end=self._over)
            if self._over:  # an app may listen for the client's leaving until it has left
                self.hang_up(NORMAL)

    def _ended(self) -> None:
        if not self._over:
            self._say("failed", message="The answer ended before it was complete.")

    def _failed(self, error: Exception) -> None:
        if not self._over:
            self._say("failed", message=f"{type(error).__name__}: {error}")


class _Socket(_Exchange):
    """One WebSocket."""

    def _begin(self, message: Item) -> None:
        self._over = False
        self.hear({"type": "websocket.connect"})

    def _scope(self, message: Item) -> dict[str, Any]:
        kind = {"type": "websocket", "scheme": "ws", "subprotocols": []}
        return super()._scope(message) | kind

    def hang_up(self, code: int) -> None:
        self.hear({"type": "websocket.disconnect", "code": code, "reason": ""})

    async def _answer(self, event: Event) -> None:
        if event["type"] == "websocket.accept":
            self._say("opened")
        elif event["type"] == "websocket.send" and not self._over:
            text = event.get("text")
            self._say("text", text=event["bytes"].decode() if text is None else text)
        elif event["type"] == "websocket.close":
            self._closed(event.get("code", NORMAL), event.get("reason") or "")

    def _ended(self) -> None:
        self._closed(NORMAL, "")

    def _failed(self, error: Exception) -> None:
        self._closed(ABNORMAL, f"{type(error).__name__}: {error}")

    def _closed(self, code: int, reason: str) -> None:
        if not self._over:
            self._over = True
            self._say("closed", code=code, reason=reason)
