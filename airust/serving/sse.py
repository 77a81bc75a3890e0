"""Server-sent events: one write for whatever tokens have gathered.

``data: {json}`` and an empty line, the last one ``data: [DONE]``. A failure after the first byte
can no longer change the status, so it is told as ``data: {"error": ...}``, which official
clients raise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airust.serving.errors import ApiError, HungUp, as_api_error
from airust.serving.generation import Generation
from airust.serving.relay import Numbered

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the pieces back
]
Result = TypeVar("Result")


class Frames(Protocol):
    """Turns events into bytes, for one request."""

    def begin(self) -> bytes:
        """Before the first event."""

    def render(self, events: Sequence[Numbered]) -> bytes:
        """Some events; may be empty."""

    async def end(self, generation: Generation) -> bytes:
        """After the last event."""

    def fail(self, error: ApiError) -> bytes:
        """Instead of the end."""

    async def close(self, generation: Generation) -> None:
        """In any case, also when the client has hung up."""


class EventStream(Response):
    """A response that streams a generation. Whoever hangs up cancels it.

    Args:
        keep_alive_s: a comment is sent after so long a silence, so that proxies keep the line.
    """

    def __init__(self, generation: Generation, frames: Frames, keep_alive_s: float) -> None:
        self.status_code, self.raw_headers, self.background = 200, list(HEADERS), None
        self._generation, self._frames, self._keep_alive_s = generation, frames, keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        async with self._generation:  # raises before the status has been sent
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            try:
                with contextlib.suppress(HungUp):
                    await until_hang_up(receive, self._stream(send))
            finally:
                self._generation.cancel()
                await self._frames.close(self._generation)

    async def _stream(self, send: Send) -> None:
        line = Line(send, self._keep_alive_s)
        try:
            await line.write(self._frames.begin())
            async for events in self._generation:
                if data := self._frames.render(events):
                    await line.write(data)
            await line.write(await self._frames.end(self._generation))
        except Exception as error:
            await line.write(self._frames.fail(as_api_error(error)))
        finally:
            line.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Line:
    """The way to the client, kept warm by comments while nothing is said."""

    def __init__(self, send: Send, keep_alive_s: float) -> None:
        self._send, self._keep_alive_s = send, keep_alive_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(keep_alive_s, self._tick)

    async def write(self, data: bytes) -> None:
        """Send a piece."""
        self._last = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def _tick(self) -> None:
        # Moving the timer at every token would cost more than looking back now and then.
        silent_s = self._loop.time() - self._last
        if silent_s >= self._keep_alive_s:
            self._task = self._loop.create_task(self.write(KEEP_ALIVE))
            silent_s = 0.0
        self._timer = self._loop.call_later(self._keep_alive_s - silent_s, self._tick)

    def close(self) -> None:
        """No more comments."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


async def until_hang_up(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """Do the work, or cancel it when the client closes the connection.

    Nothing in ASGI cancels a handler whose client has gone; it only shows in ``receive``.

    Raises:
        HungUp: the client has gone.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_hang_up(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HungUp
        return task.result()
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
