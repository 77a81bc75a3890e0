"""Carries events from the engines' threads to the event loop, many at a time.

An engine that advances 64 requests a step calls back 64 times a step. Waking the loop for each
would cost more than the tokens themselves, so a callback only appends to its inbox, and one
wake-up serves everything that has gathered. Under load wake-ups are also spaced, by up to
``MOST_WAIT_S``: a stream's next few tokens then go out in one write. First tokens and last
events never wait.

No locks: ``deque.append`` and the two flags are atomic under the interpreter's own, and each
flag is cleared *before* what it announces is read, so nothing can be missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

from airust.engines.base import EventCallback
from airust.types import DoneEvent, ErrorEvent, Event, TokenEvent

WAIT_PER_STREAM_S = 0.0004  # times the open streams: how far wake-ups are apart
FREE_STREAMS = 4  # up to here every token goes out at once
MOST_WAIT_S = 0.025  # 40 wake-ups a second still read as a flow

Numbered = tuple[int, Event]  # which of a request's answers, and what happened
LastEvent = DoneEvent | ErrorEvent


class Relay:
    """Belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.open_streams = 0
        self._dirty: deque[Inbox] = deque()
        self._scheduled = False
        self._woke_at = 0.0

    def notice(self, inbox: Inbox) -> None:
        """There is something new. From the engine's thread."""
        self._dirty.append(inbox)
        if not self._scheduled:
            self._scheduled = True
            self.post(self._arrive)

    def post(self, callback: Callable[..., object], *args: object) -> None:
        """Call something in the loop, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            self.loop.call_soon_threadsafe(callback, *args)

    def _arrive(self) -> None:
        wait = 0.0
        if self.open_streams > FREE_STREAMS:
            spacing = min(self.open_streams * WAIT_PER_STREAM_S, MOST_WAIT_S)
            wait = self._woke_at + spacing - self.loop.time()
        if wait > 0:
            self.loop.call_later(wait, self._wake)
        else:
            self._wake()

    def _wake(self) -> None:
        self._woke_at = self.loop.time()
        self._scheduled = False
        dirty = self._dirty
        for _ in range(len(dirty)):
            inbox = dirty.popleft()
            inbox.dirty = False
            inbox.wake()


class Inbox:
    """The events of one client's request: ``answers`` answers, numbered from 0.

    Args:
        streaming: wake the reader for tokens too, not only for last events.
        on_end: called in the loop with each answer's last event, whether anybody reads or not.
        on_gap: told the seconds between two tokens of an answer, in the engine's thread.
    """

    def __init__(
        self,
        relay: Relay,
        answers: int,
        streaming: bool,
        on_end: Callable[[int, LastEvent], object],
        on_gap: Callable[[float], object],
    ) -> None:
        self.dirty = False
        self.unfinished = answers
        self._relay, self._streaming = relay, streaming
        self._on_end, self._on_gap = on_end, on_gap
        self._events: deque[Numbered] = deque()
        self._waiter: asyncio.Future[None] | None = None
        relay.open_streams += streaming

    def callback(self, index: int) -> EventCallback:
        """What to give to ``Engine.submit`` for one of the answers."""
        events, relay, on_gap = self._events, self._relay, self._on_gap
        last, ids = 0.0, False  # when the previous token came; whether tokens have ids here

        def deliver(event: Event) -> None:
            nonlocal last, ids
            events.append((index, event))
            if not isinstance(event, TokenEvent):
                relay.post(self._ended, index, event)
                return
            now = time.perf_counter()
            if last == 0.0:
                ids = event.token_id is not None
                if self._streaming:
                    relay.post(self.wake)
            else:
                if event.token_id is not None or not ids:  # else it is text that was held back
                    on_gap(now - last)
                if self._streaming and not self.dirty:
                    self.dirty = True
                    relay.notice(self)
            last = now

        return deliver

    def _ended(self, index: int, event: LastEvent) -> None:
        self.unfinished -= 1
        if self.unfinished == 0:
            self._relay.open_streams -= self._streaming
        self._on_end(index, event)
        if self._streaming or self.unfinished == 0:
            self.wake()

    def refused(self, answers: int) -> None:
        """So many of the answers were never started."""
        self.unfinished -= answers
        if self.unfinished == 0:
            self._relay.open_streams -= self._streaming

    def wake(self) -> None:
        """Let the reader go on. In the loop."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Until there is something to take, or ``wake`` is called."""
        ready = self._events if self._streaming else self.unfinished == 0
        if not ready:
            self._waiter = self._relay.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def take(self) -> list[Numbered]:
        """Everything that has come since."""
        events = self._events
        return [events.popleft() for _ in range(len(events))]
