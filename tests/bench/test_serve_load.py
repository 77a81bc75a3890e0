"""Arrivals and what is noted of the answers, with engines that answer as they are told."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from airust.bench.serve_load import Load, Point, PointResult, warm_up
from airust.bench.serve_traffic import Session, Turn
from airust.engines.base import Capabilities, Engine, EventCallback
from airust.types import (
    DoneEvent,
    EngineError,
    ErrorEvent,
    Message,
    OverloadedError,
    Request,
    Timings,
    TokenEvent,
    Usage,
)


class Threads(Engine):
    """Answers each request in a thread of its own, and knows how many it had at once."""

    name = "threads"
    capabilities = Capabilities(batching=True, ignore_eos=True)

    def __init__(self, seconds: float = 0.002) -> None:
        self.seconds, self.lock = seconds, threading.Lock()
        self.running = self.most = self.asked = 0
        self.threads: list[threading.Thread] = []

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        raise NotImplementedError

    def submit(self, request: Request, on_event: EventCallback) -> Self:
        with self.lock:
            self.asked += 1
            self.running += 1
            self.most = max(self.most, self.running)
        thread = threading.Thread(target=self._answer, args=(request, on_event))
        self.threads.append(thread)
        thread.start()
        return self

    def _answer(self, request: Request, on_event: EventCallback) -> None:
        for number in range(request.params.max_tokens):
            time.sleep(self.seconds)
            on_event(TokenEvent("x", token_id=number))
        with self.lock:
            self.running -= 1
        usage = Usage(5, request.params.max_tokens, cached_tokens=3)
        on_event(DoneEvent("length", usage, Timings(0.0, 0.0, 0.0)))

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        for thread in self.threads:
            thread.join()


class Silent(Threads):
    """Never answers."""

    def _answer(self, request: Request, on_event: EventCallback) -> None:
        pass


class Full(Threads):
    """Refuses every second request, some at once and some later."""

    def submit(self, request: Request, on_event: EventCallback) -> Self:
        if self.asked % 4 == 1:
            self.asked += 1
            raise OverloadedError("Too many wait.")
        return super().submit(request, on_event)

    def _answer(self, request: Request, on_event: EventCallback) -> None:
        if self.asked % 4 == 3:
            on_event(ErrorEvent(EngineError("It broke.")))
            with self.lock:
                self.running -= 1
        else:
            super()._answer(request, on_event)


def sessions(count: int, turns: int = 1, tokens: int = 3) -> tuple[Session, ...]:
    return tuple(
        tuple(Turn((Message("user", f"{i} {j}"),), tokens) for j in range(turns))
        for i in range(count)
    )


def run(
    engine: Threads, asked: tuple[Session, ...], point: Point, stall_s: float = 30
) -> PointResult:
    with engine:
        return Load(engine, asked, point, "seed", stall_s).run()


def test_a_closed_loop_keeps_so_many_under_way() -> None:
    engine = Threads()
    found = run(engine, sessions(12), Point("concurrency", 3))
    assert len(found.requests) == 12 and engine.most == 3
    assert [r.session for r in found.requests] == list(range(12))
    for asked in found.requests:
        assert asked.error is None and asked.tokens == 3 and asked.cached_tokens == 3
        assert asked.token_ids == [0, 1, 2] and asked.text == "xxx"
        assert asked.due_s <= asked.sent_s <= asked.arrivals_s[0] <= asked.arrivals_s[-1]
    assert found.seconds == max(r.end_s for r in found.requests)
    assert found.requests[3].due_s in [r.end_s for r in found.requests]  # begins when one ends


def test_turns_follow_each_other() -> None:
    found = run(Threads(), sessions(2, turns=3), Point("concurrency", 2))
    assert [(r.session, r.turn) for r in found.requests] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2),
    ]  # fmt: skip
    for before, after in zip(found.requests, found.requests[1:], strict=False):
        if before.session == after.session:
            assert after.due_s == before.end_s


def test_poisson_arrivals_do_not_wait_for_answers() -> None:
    engine = Threads(seconds=0.05)
    found = run(engine, sessions(40, tokens=2), Point("rate", 400.0))
    due = [r.due_s for r in found.requests]
    assert engine.most > 10  # 40 arrive within a tenth of a second, an answer takes that long
    assert due == sorted(due) and due[0] == 0
    gaps = [b - a for a, b in itertools.pairwise(due)]
    assert 0.5 / 400 < sum(gaps) / len(gaps) < 2 / 400
    assert max(gaps) > 2 * min(gaps)
    again = Load(engine, sessions(40), Point("rate", 400.0), "seed", 1)
    assert sorted(when for when, _, _ in again.due) == due


def test_silence_is_a_failure_and_nothing_more_is_asked() -> None:
    engine = Silent()
    found = run(engine, sessions(10), Point("concurrency", 2), stall_s=0.2)
    assert engine.asked == 2
    assert [r.error for r in found.requests] == ["nothing came for 0.2 s"] * 2


def test_refused_and_failed_requests_are_noted_and_the_rest_goes_on() -> None:
    found = run(Full(), sessions(8), Point("concurrency", 1))
    errors = [r.error for r in found.requests]
    assert len(errors) == 8 and {"Too many wait.", "It broke.", None} == set(errors)


class Warming(Threads):
    """Becomes faster with every request until the fifth."""

    def _answer(self, request: Request, on_event: EventCallback) -> None:
        time.sleep(0.2 / 2 ** min(self.asked, 5))
        super()._answer(request, on_event)


def test_the_warm_up_ends_when_nothing_is_gained() -> None:
    with Warming(seconds=0) as engine:
        seconds = warm_up(engine, sessions(1)[0][0])
    assert 5 <= len(seconds) <= 12
    assert min(seconds) < seconds[0] / 4


@pytest.mark.parametrize("kind", ["concurrency", "rate"])
def test_a_point_names_itself(kind: str) -> None:
    assert Point(kind, 2).key == f"{kind}_2"  # type: ignore[arg-type]
