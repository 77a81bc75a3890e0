"""HTTP/1.1 as uvicorn speaks it, with an end to what may come before the headers are complete.

httptools gathers a header for as long as it is sent, and uvicorn waits for the rest of a request's
head for ever: one slow client could fill the memory, many could hold all connections. The exact
caps are the application's (``middleware/caps.py``); here is what it never gets to see.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from airust.serving.errors import ApiError
from airust.settings import ServerSettings


class CappedProtocol(HttpToolsProtocol):
    """One connection. Refuses a head that is too large (431) or does not come (408)."""

    def __init__(self, *args: Any, settings: ServerSettings, **options: Any) -> None:
        super().__init__(*args, **options)
        self._settings = settings
        self._head_bytes: int | None = 0  # of an incomplete head; None behind it
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connects, and must soon say what they want."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """More of a request; the parser calls the methods below."""
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        # A head that came in one piece is complete by now, and the application looks at it.
        if self._head_bytes is not None and self._head_bytes > self._settings.max_header_bytes:
            self._refuse(431, f"The headers may have {self._settings.max_header_bytes} bytes.",
                         "headers_too_large")  # fmt: skip

    def on_message_begin(self) -> None:
        """The first byte of a head; of a connection's first one somebody waits already."""
        super().on_message_begin()
        if self._head_timer is None:
            self._expect()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; their number is capped before a list of millions has been made."""
        super().on_header(name, value)
        most = self._settings.max_headers
        if len(self.headers) > most and not self.transport.is_closing():
            self._refuse(431, f"There may be {most} headers.", "headers_too_large")

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._head_bytes = None
        self._forget()
        if not self.transport.is_closing():  # a refused request must not be answered once more
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, unless the head was refused."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The next bytes begin another request."""
        self._head_bytes = 0
        if not self.transport.is_closing():
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has gone."""
        self._forget()
        super().connection_lost(exc)

    def _expect(self) -> None:
        wait_s = self._settings.body_timeout_s
        self._head_timer = self.loop.call_later(
            wait_s, self._refuse, 408, f"The request did not arrive within {wait_s:g} s.",
            "request_timeout",
        )  # fmt: skip

    def _forget(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, message: str, code: str) -> None:
        self._forget()
        if self.transport.is_closing():
            return
        body = ApiError(status, message, code).body()
        head = (
            f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
