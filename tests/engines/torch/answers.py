"""What tests of the torch engine share: a request whose events are collected."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from airust.engines.base import Engine
from airust.types import DoneEvent, ErrorEvent, Event, Request, SamplingParams, TokenEvent

TIMEOUT_S = 60


class Answer:
    """Collects one request's events, in order with those of others if they share a log.

    With ``held`` the engine's thread is stopped at the first event until ``let_go``.
    """

    def __init__(
        self,
        engine: Engine,
        request: Request,
        log: list[Any] | None = None,
        held: bool = False,
    ) -> None:
        self.events: list[Event] = []
        self.log = log
        self.free = threading.Event()
        if not held:
            self.free.set()
        self.begun, self.done = threading.Event(), threading.Event()
        self.handle = engine.submit(request, self.collect)

    def collect(self, event: Event) -> None:
        self.events.append(event)
        self.begun.set()
        self.free.wait(TIMEOUT_S)
        if self.log is not None:
            self.log.append((self, event))
        if not isinstance(event, TokenEvent):
            self.done.set()

    def let_go(self) -> None:
        self.free.set()

    def wait(self) -> DoneEvent | ErrorEvent:
        assert self.done.wait(TIMEOUT_S)
        last = self.events[-1]
        assert not isinstance(last, TokenEvent)
        return last

    def ids(self) -> list[int | None]:
        self.wait()
        events = (e for e in self.events if isinstance(e, TokenEvent))
        return [e.token_id for e in events if e.token_id is not None]


def ids_request(prompt: Sequence[int], **params: Any) -> Request:
    return Request(token_ids=tuple(prompt), params=SamplingParams(**params))
