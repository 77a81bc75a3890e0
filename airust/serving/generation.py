"""One client's request on its way: n answers from one engine, as one flow of events.

    async with Generation(service, model, requests, streaming=True) as generation:
        async for events in generation:
            ...

Leaving the block cancels whatever still runs, so a client that hangs up, a task that is
cancelled and an exception all free the engine's slot at its next step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from airust.engines.base import Handle
from airust.serving.errors import ApiError
from airust.serving.metrics import Metrics
from airust.serving.models import ServedModel
from airust.serving.relay import Inbox, LastEvent, Numbered, Relay
from airust.types import (
    AirustError,
    DoneEvent,
    EngineError,
    ErrorEvent,
    FinishReason,
    Request,
    TokenEvent,
    Usage,
)

LARGE = 8192  # characters of a prompt whose tokens are not counted in the event loop


@dataclass(slots=True)
class Answer:
    """One of the answers, as far as it has come."""

    tokens: list[TokenEvent] = field(default_factory=list)
    done: DoneEvent | None = None

    @property
    def text(self) -> str:
        """What has been said."""
        return "".join(token.text for token in self.tokens)

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended; None while it has not."""
        return None if self.done is None else self.done.finish_reason

    def add(self, event: TokenEvent | DoneEvent) -> None:
        """Take an event in."""
        if isinstance(event, DoneEvent):
            self.done = event
        else:
            self.tokens.append(event)


class Generation:
    """The answers to one or several prompts.

    Args:
        requests: ``each`` for a prompt, one prompt after the other.
        streaming: events as they come; otherwise all at the end.
        timeout_s: cancels the answers after that.
        on_usage: told the tokens of each answer, finished or cancelled.
        alive: holds this generation from its start until its last answer has ended.
    """

    def __init__(
        self,
        relay: Relay,
        metrics: Metrics,
        model: ServedModel,
        requests: Sequence[Request],
        *,
        each: int,
        streaming: bool,
        timeout_s: float,
        on_usage: Callable[[int], object],
        alive: set[Generation],
    ) -> None:
        self.model, self.requests = model, requests
        self.usages: dict[int, Usage] = {}  # of the answers that have ended
        self._relay, self._metrics, self._timeout_s = relay, metrics, timeout_s
        self._each = each
        self._streaming, self._on_usage, self._alive = streaming, on_usage, alive
        self._stopped_by: ApiError | None = None
        self._wanted = False
        self._handles: list[Handle] = []
        self._in_thread = 0  # submitted by a thread that nobody waits for any more
        self._inbox: Inbox | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def usage(self) -> Usage:
        """Of all answers together; a prompt counts once."""
        prompts = [u for i, u in self.usages.items() if i % self._each == 0]
        return Usage(
            prompt_tokens=sum(u.prompt_tokens for u in prompts),
            completion_tokens=sum(u.completion_tokens for u in self.usages.values()),
            cached_tokens=sum(u.cached_tokens for u in prompts),
            trimmed_messages=sum(u.trimmed_messages for u in prompts),
            trimmed_tokens=sum(u.trimmed_tokens for u in prompts),
        )

    async def start(self) -> None:
        """Hand the requests to the engine.

        Raises:
            ApiError: there is too much to do.
            AirustError: the engine refuses.
        """
        count = len(self.requests)
        self.model.admit(count)
        on_gap = self._metrics.gap_observer(self.model)
        inbox = self._inbox = Inbox(self._relay, count, self._streaming, self._ended, on_gap)
        try:
            for index, request in enumerate(self.requests):
                self._handles.append(await self._submit(request, inbox, index))
        except BaseException:
            self._not_started(count - len(self._handles) - self._in_thread)
            self.cancel()
            raise
        if inbox.unfinished:
            self._alive.add(self)
            late = timed_out(self._timeout_s)
            self._timer = self._relay.loop.call_later(self._timeout_s, self.stop, late)

    async def _submit(self, request: Request, inbox: Inbox, index: int) -> Handle:
        callback, engine = inbox.callback(index), self.model.engine
        if not _is_slow(request):
            return engine.submit(request, callback)
        work = self._relay.loop.run_in_executor(None, engine.submit, request, callback)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:  # the thread goes on and would leave a running request
            self._in_thread += 1
            work.add_done_callback(self._cancel_late)
            raise

    def _cancel_late(self, work: asyncio.Future[Handle]) -> None:
        if work.cancelled() or work.exception() is not None:
            self._not_started(1)
        else:
            work.result().cancel()

    def _not_started(self, answers: int) -> None:
        self.model.pending -= answers
        if self._inbox is not None:
            self._inbox.refused(answers)

    def _ended(self, index: int, event: LastEvent) -> None:
        self.model.pending -= 1
        if isinstance(event, DoneEvent):
            self.usages[index] = event.usage
            self._metrics.answered(self.model, event)
            self._on_usage(event.usage.prompt_tokens + event.usage.completion_tokens)
        if self._inbox is not None and self._inbox.unfinished == 0:
            self._alive.discard(self)
            if self._timer is not None:
                self._timer.cancel()

    def stop(self, reason: ApiError) -> None:
        """Cancel the answers and tell whoever reads them why."""
        self._stopped_by = reason
        self.cancel()
        if self._inbox is not None:
            self._inbox.wake()

    def end_early(self) -> None:
        """Stop at the caller's own wish: the answers end with what they have."""
        self._wanted = True
        self.cancel()

    def cancel(self) -> None:
        """Free the engine's slots at its next step. Safe to repeat."""
        for handle in self._handles:
            handle.cancel()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    async def __aiter__(self) -> AsyncIterator[list[Numbered]]:
        """The events, as many at a time as there are, until every answer has ended.

        Raises:
            AirustError: an answer failed; the others are given up.
            ApiError: the time is up, or the server stops.
        """
        inbox = self._inbox
        if inbox is None:
            raise EngineError("The generation has not been started.")
        while True:
            if self._stopped_by is not None:
                raise self._stopped_by
            events = inbox.take()
            good, failed = _until_failure(events, self._wanted)
            if good:
                yield good
            if failed is not None:
                raise failed
            if events:
                continue
            if inbox.unfinished == 0:
                return
            await inbox.wait()

    async def answers(self) -> list[Answer]:
        """All answers, when they are complete."""
        found = [Answer() for _ in self.requests]
        async for events in self:
            for index, event in events:
                assert not isinstance(event, ErrorEvent)
                found[index].add(event)
        return found


def timed_out(after_s: float) -> ApiError:
    """The answer took too long. A client must not ask again at once and take as long."""
    message = f"The answer was not ready within {after_s:g} s; ask for fewer tokens."
    return ApiError(504, message, "timeout", headers={"x-should-retry": "false"})


def _until_failure(
    events: list[Numbered], may_cancel: bool
) -> tuple[list[Numbered], AirustError | None]:
    """The events before the first failure, and the failure; for most events it is a glance."""
    for place, (_, event) in enumerate(events):
        if isinstance(event, TokenEvent):
            continue
        if isinstance(event, ErrorEvent):
            return events[:place], event.error
        if event.finish_reason == "cancelled" and not may_cancel:
            return events[:place], EngineError("The engine was closed while it was answering.")
    return events, None


def _is_slow(request: Request) -> bool:
    """Whether checking and tokenising it would hold up the loop."""
    constrained = request.params.json_schema is not None or request.params.regex is not None
    texts = [m.content for m in request.messages or ()] + [request.prompt or ""]
    return constrained or sum(map(len, texts)) > LARGE
