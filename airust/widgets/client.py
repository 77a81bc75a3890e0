"""The service in this process, asked from Python: the same app, the same way as the front end."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.types import ASGIApp

from airust.types import UserError
from airust.widgets.tunnel import Item, Tunnel

LAST = ("response.completed", "response.incomplete", "response.failed", "error")


class Client:
    """Requests and conversations with an app. All methods belong to the event loop's thread."""

    def __init__(self, app: ASGIApp) -> None:
        self._tunnel = Tunnel(app, self._arrive)
        self._numbers = itertools.count()
        self._inboxes: dict[str, asyncio.Queue[tuple[Item, bytes]]] = {}

    async def request(self, method: str, path: str, body: object = None) -> Any:
        """The parsed JSON of an answer.

        Raises:
            UserError: the service refused; in its own words.
        """
        sent = None if body is None else json.dumps(body)
        headers = [] if body is None else [["content-type", "application/json"]]
        status, parts = 0, bytearray()
        ident, inbox = self._begin("http", method=method, path=path, headers=headers, body=sent)
        try:
            while True:
                item, piece = await inbox.get()
                if item["kind"] == "failed":
                    raise UserError(item["message"])
                status = item.get("status", status)
                parts += piece
                if item.get("end"):
                    break
        finally:
            self._forget(ident, "abort")
        found: Any = json.loads(parts) if parts else None
        if status >= 400:
            raise UserError(found["error"]["message"])
        return found

    async def ask(self, event: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one response, over a socket. Leaving the loop early cancels it.

        Raises:
            UserError: the service refused or failed.
        """
        ident, inbox = self._begin("open", path="/ws")
        running: str | None = None
        try:
            self._say(ident, {"type": "response.create"} | event)
            while True:
                item, _ = await inbox.get()
                if item["kind"] == "closed":
                    raise UserError(f"The service closed the connection: {item['reason']}.")
                if item["kind"] != "text":
                    continue
                heard = json.loads(item["text"])
                if heard["type"] == "error":
                    raise UserError(heard["error"]["message"])
                running = None if heard["type"] in LAST else heard["response_id"]
                yield heard
                if running is None:
                    return
        finally:
            if running is not None:  # closing is not enough: it may go on in the background
                self._say(ident, {"type": "response.cancel", "response_id": running})
            self._forget(ident, "close")

    async def close(self) -> None:
        """Hang up everywhere."""
        await self._tunnel.close()

    def _begin(self, kind: str, **values: Any) -> tuple[str, asyncio.Queue[tuple[Item, bytes]]]:
        ident = f"python:{next(self._numbers)}"
        inbox = self._inboxes[ident] = asyncio.Queue()
        self._tunnel.receive({"kind": kind, "id": ident, **values})
        return ident, inbox

    def _say(self, ident: str, event: dict[str, Any]) -> None:
        self._tunnel.receive({"kind": "text", "id": ident, "text": json.dumps(event)})

    def _forget(self, ident: str, how: str) -> None:
        del self._inboxes[ident]
        self._tunnel.receive({"kind": how, "id": ident})

    def _arrive(self, batch: Item, buffers: list[bytes]) -> None:
        for item in batch["items"]:
            if (inbox := self._inboxes.get(item["id"])) is not None:
                piece = buffers[item["buffer"]] if "buffer" in item else b""
                inbox.put_nowait((item, piece))
