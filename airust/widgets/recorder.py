"""An engine that remembers the tokens of its latest answers, for ``panel.tokens``.

It stands between the service and the real engine, so that it sees every answer whoever asked:
the page in the widget, a cell, or a race. Where the engine can tell logprobs it is asked for
them; the service drops what its client did not want.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from airust.engines.base import Engine, EngineStats, EventCallback, Handle, ScoredToken
from airust.types import DoneEvent, ErrorEvent, Event, Request, TokenEvent

REMEMBERED = 32  # answers
TOP = 5  # alternatives of each token


@dataclass(slots=True)
class Recorded:
    """One answer, as far as it has come."""

    request: Request
    started_at: float  # time.perf_counter()
    tokens: list[tuple[float, TokenEvent]] = field(default_factory=list)  # seconds since the start
    last: DoneEvent | ErrorEvent | None = None

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(event.text for _, event in self.tokens)


class Recorder(Engine):
    """Passes everything on to ``engine``; closing it closes that only if it is ``owned``."""

    def __init__(self, engine: Engine, owned: bool) -> None:
        self.engine, self._owned = engine, owned
        # Of a class in the contract; here they are those of the engine that it stands for.
        self.name = engine.name  # type: ignore[misc]
        self.capabilities = engine.capabilities  # type: ignore[misc]
        self.sampler = engine.sampler  # type: ignore[misc]
        self.recorded: deque[Recorded] = deque(maxlen=REMEMBERED)
        self._running: set[Handle] = set()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Not a way to make one: a recorder is given its engine."""
        raise NotImplementedError

    def submit(self, request: Request, on_event: EventCallback) -> Handle:
        """As the engine, and remember."""
        return self.record(request, on_event)[0]

    def record(self, request: Request, on_event: EventCallback) -> tuple[Handle, Recorded]:
        """``submit``, with what is remembered of it."""
        asked = request
        if self.capabilities.logprobs and (request.params.logprobs or 0) < TOP:
            asked = replace(request, params=replace(request.params, logprobs=TOP))
        entry = Recorded(request, time.perf_counter())
        ended = threading.Event()
        handle: Handle | None = None

        def note(event: Event) -> None:
            if isinstance(event, TokenEvent):
                entry.tokens.append((time.perf_counter() - entry.started_at, event))
            else:
                entry.last = event
                ended.set()
                if handle is not None:
                    self._running.discard(handle)
            on_event(event)

        with self._lock:
            handle = self.engine.submit(asked, note)
            self.recorded.append(entry)
            self._running.add(handle)
        if ended.is_set():
            self._running.discard(handle)
        return handle, entry

    def close(self) -> None:
        """Cancel what was asked through here; the engine is closed if it is ours."""
        for handle in list(self._running):
            handle.cancel()
        if self._owned:
            self.engine.close()

    @property
    def settings(self) -> dict[str, object]:
        """As the engine; so are all that follow."""
        return self.engine.settings

    @property
    def context(self) -> int | None:
        return self.engine.context

    def stats(self) -> EngineStats:
        return self.engine.stats()

    def encode(self, text: str) -> list[int]:
        return self.engine.encode(text)

    def prompt_ids(self, request: Request) -> list[int]:
        return self.engine.prompt_ids(request)

    def decode(self, ids: Sequence[int]) -> str:
        return self.engine.decode(ids)

    def check(self, request: Request) -> None:
        self.engine.check(request)

    def score(
        self, prompt_ids: Sequence[int], continuation_ids: Sequence[int], top_k: int = 8
    ) -> Sequence[ScoredToken | None]:
        return self.engine.score(prompt_ids, continuation_ids, top_k)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)  # what an engine has beyond the contract
