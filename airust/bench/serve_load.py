"""Send sessions to an engine, in process or behind HTTP, and note when what came.

* **closed loop** with concurrency C: C sessions are always under way, the next one begins when
  one ends (the tail of a run, in which fewer than C are left, is part of it);
* **Poisson** at rate R: sessions begin at times whose gaps are drawn from an exponential
  distribution of mean 1/R, whatever the server does.

A request is *due* when its session begins, or when the answer before it has ended. Its times count
from there and not from when this client got round to sending it: a client that is late must not
make a server look quick. How late it was is recorded.
"""

from __future__ import annotations

import heapq
import queue
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from airust.bench.serve_traffic import Session, Turn
from airust.engines.base import Engine
from airust.types import (
    AirustError,
    DoneEvent,
    ErrorEvent,
    Event,
    Request,
    SamplingParams,
    TokenEvent,
)

WARM_UP_MOST = 12  # requests
WARM_UP_GAIN = 0.95  # of the best so far; a request that is not faster than that gains nothing
WARM_UP_IDLE = 2  # of them in a row end the warm-up


@dataclass(frozen=True, slots=True)
class Point:
    """How sessions arrive."""

    kind: Literal["concurrency", "rate"]
    value: float  # sessions under way, or sessions a second

    @property
    def key(self) -> str:
        """Its name in results.

        >>> Point("concurrency", 4).key, Point("rate", 2.5).key
        ('concurrency_4', 'rate_2.5')
        """
        return f"{self.kind}_{self.value:g}"


@dataclass(slots=True)
class Asked:
    """What became of one request. Times are seconds from the start of the point."""

    session: int
    turn: int
    due_s: float
    sent_s: float
    arrivals_s: list[float] = field(default_factory=list)  # of token events
    token_ids: list[int | None] = field(default_factory=list)
    text: str = ""
    end_s: float = 0.0
    prompt_tokens: int = 0  # by the server
    tokens: int = 0  # by the server
    cached_tokens: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PointResult:
    """All requests of a point."""

    seconds: float  # from the start to the last answer
    client_cpu_s: float  # of this process meanwhile
    requests: tuple[Asked, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Load:
    """One point on its way.

    Args:
        stall_s: silence of all requests after which what is under way counts as failed.
    """

    def __init__(
        self, engine: Engine, sessions: Sequence[Session], point: Point, seed: str, stall_s: float
    ) -> None:
        self.engine, self.sessions, self.point, self.stall_s = engine, sessions, point, stall_s
        self.ended: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self.due: list[tuple[float, int, int]] = []  # heap of (when, session, turn)
        self.running: dict[tuple[int, int], tuple[Asked, Any]] = {}
        self.found: list[Asked] = []
        self.next_session = 0
        if point.kind == "concurrency":
            for _ in range(min(int(point.value), len(sessions))):
                self._begin(0.0)
        else:
            rng, when = random.Random(seed), 0.0
            while self.next_session < len(sessions):
                self._begin(when)
                when += rng.expovariate(point.value)

    def _begin(self, when: float) -> None:
        heapq.heappush(self.due, (when, self.next_session, 0))
        self.next_session += 1

    def run(self) -> PointResult:
        """Ask everything and wait for the last answer."""
        cpu, self.start = time.process_time(), time.perf_counter()
        heard = 0.0
        while self.due or self.running:
            now = self._now()
            if self.due and self.due[0][0] <= now:
                self._send(*heapq.heappop(self.due))
                heard = max(heard, now)
                continue
            wait = self.due[0][0] - now if self.due else self.stall_s
            try:
                self._take(self.ended.get(timeout=min(wait, self.stall_s)))
                heard = self._now()
            except queue.Empty:
                heard = max(
                    [heard, *(a.arrivals_s[-1] for a, _ in self.running.values() if a.arrivals_s)]
                )
                if self.running and self._now() - heard > self.stall_s:
                    self._give_up()
        last = max((asked.end_s for asked in self.found), default=0.0)
        ordered = sorted(self.found, key=lambda asked: (asked.session, asked.turn))
        return PointResult(last, time.process_time() - cpu, tuple(ordered))

    def _now(self) -> float:
        return time.perf_counter() - self.start

    def _send(self, due: float, session: int, turn: int) -> None:
        asked = Asked(session, turn, due, self._now())
        params = SamplingParams(
            max_tokens=self.sessions[session][turn].max_tokens,
            ignore_eos=self.engine.capabilities.ignore_eos,
        )
        request = Request(messages=self.sessions[session][turn].messages, params=params)
        try:
            handle = self.engine.submit(request, _Listener(asked, self.start, self.ended))
        except AirustError as error:
            asked.error, asked.end_s = str(error), self._now()
            self.ended.put(asked)
            handle = None
        self.running[session, turn] = asked, handle

    def _take(self, asked: Asked) -> None:
        if self.running.pop((asked.session, asked.turn), None) is None:
            return  # it was given up before
        self.found.append(asked)
        if not asked.error and asked.turn + 1 < len(self.sessions[asked.session]):
            heapq.heappush(self.due, (asked.end_s, asked.session, asked.turn + 1))
        elif self.point.kind == "concurrency" and self.next_session < len(self.sessions):
            self._begin(asked.end_s)

    def _give_up(self) -> None:
        """What is under way has stalled; nothing more is asked of such a server."""
        for asked, handle in self.running.values():
            if handle is not None:
                handle.cancel()
            # The listener keeps its own; a late event must not change what is recorded.
            self.found.append(
                Asked(
                    asked.session, asked.turn, asked.due_s, asked.sent_s, list(asked.arrivals_s),
                    list(asked.token_ids), asked.text, self._now(),
                    error=f"nothing came for {self.stall_s:g} s",
                )
            )  # fmt: skip
        self.running.clear()
        self.due.clear()
        self.next_session = len(self.sessions)


class _Listener:
    """The callback of one request."""

    def __init__(self, asked: Asked, start: float, ended: queue.SimpleQueue[Asked]) -> None:
        self.asked, self.start, self.ended = asked, start, ended
        self.pieces: list[str] = []

    def __call__(self, event: Event) -> None:
        asked, now = self.asked, time.perf_counter() - self.start
        if isinstance(event, TokenEvent):
            asked.arrivals_s.append(now)
            asked.token_ids.append(event.token_id)
            self.pieces.append(event.text)
            return
        asked.end_s, asked.text = now, "".join(self.pieces)
        if isinstance(event, DoneEvent):
            asked.prompt_tokens = event.usage.prompt_tokens
            asked.tokens = event.usage.completion_tokens
            asked.cached_tokens = event.usage.cached_tokens
        elif isinstance(event, ErrorEvent):
            asked.error = str(event.error)
        self.ended.put(asked)


def warm_up(engine: Engine, turn: Turn) -> list[float]:
    """Ask one thing until asking again makes it no faster: the seconds of each time."""
    seconds: list[float] = []
    idle = 0
    while len(seconds) < WARM_UP_MOST and idle < WARM_UP_IDLE:
        params = SamplingParams(
            max_tokens=turn.max_tokens, ignore_eos=engine.capabilities.ignore_eos
        )
        start = time.perf_counter()
        engine.generate(Request(messages=turn.messages, params=params))
        took = time.perf_counter() - start
        idle = idle + 1 if seconds and took > WARM_UP_GAIN * min(seconds) else 0
        seconds.append(took)
    return seconds
