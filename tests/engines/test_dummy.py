"""The echo engine, and with it the queue of threads that several engines share."""

from __future__ import annotations

import gc
import queue
import threading
import weakref

import pytest

from airust.engines.dummy import CONCURRENT, DummyEngine
from airust.engines.worker import Job, Outcome
from airust.types import (
    DoneEvent,
    EngineError,
    ErrorEvent,
    Event,
    Message,
    Request,
    TokenEvent,
    UserError,
)

HELLO = Request(messages=(Message("user", "hello there"),))


def test_echo_and_script() -> None:
    with DummyEngine(script=["first answer", ""]) as engine:
        assert engine.generate(HELLO).text == "first answer"
        empty = engine.generate(HELLO)
        assert (empty.text, empty.tokens, empty.finish_reason) == ("", (), "stop")
        assert engine.generate(HELLO).text == "hello there"
        assert engine.generate(Request(prompt="raw  text\n")).text == "raw  text\n"


def test_the_same_word_has_the_same_id() -> None:
    with DummyEngine(script=["a b a b"]) as engine:
        ids = [token.token_id for token in engine.generate(HELLO).tokens]
    assert ids[1] == ids[3] != ids[2]


@pytest.mark.parametrize(
    "options", [{"script": "text"}, {"script": 3}, {"delay_s": -1}, {"delay_s": "1"}]
)
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match="must be"):
        DummyEngine.load("", **options)


class Blocked(DummyEngine):
    """Answers nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def answer(self, prepared: list[str], job: Job) -> Outcome:
        self.go.wait(10)
        return super().answer(prepared, job)


def test_cancelling_what_still_waits() -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Blocked() as engine:
        handles = [engine.submit(HELLO, events.put) for _ in range(CONCURRENT + 3)]
        for handle in handles[CONCURRENT:]:
            handle.cancel()
        engine.go.set()
        done = [e for e in (events.get(timeout=10) for _ in range(3 * CONCURRENT - 5))]
    reasons = [e.finish_reason for e in done if isinstance(e, DoneEvent)]
    assert reasons.count("cancelled") == 3


def test_closing_ends_what_waits() -> None:
    events: queue.Queue[Event] = queue.Queue()
    engine = Blocked()
    for _ in range(CONCURRENT + 3):
        engine.submit(HELLO, events.put)
    engine.go.set()
    engine.close()
    ends = [e for e in events.queue if isinstance(e, DoneEvent)]
    assert len(ends) == CONCURRENT + 3


class Panicking(DummyEngine):
    """Fails like a Rust library: with something that is no Exception."""

    def answer(self, prepared: list[str], job: Job) -> Outcome:
        raise BaseException("index out of bounds\n   0: std::panicking")


def test_a_crash_is_an_error_event_of_one_line() -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Panicking() as engine:
        engine.submit(HELLO, events.put)
        event = events.get(timeout=10)
        assert isinstance(event, ErrorEvent)
        assert str(event.error) == "index out of bounds"
        with pytest.raises(EngineError, match="index out of bounds"):
            engine.generate(HELLO)


def test_a_callback_that_fails_does_not_end_the_thread() -> None:
    def fail(event: Event) -> None:
        raise ValueError("not my day")

    with DummyEngine() as engine:
        for _ in range(2 * CONCURRENT):
            engine.submit(HELLO, fail)
        assert engine.generate(HELLO).text == "hello there"


def test_a_forgotten_engine_is_freed_with_its_threads() -> None:
    engine = DummyEngine()
    engine.generate(HELLO)
    threads = list(engine._pool._threads)
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_cancelled_request_that_waits_ends_at_once() -> None:
    """It does not wait for its turn, and the others keep theirs."""
    late: queue.Queue[Event] = queue.Queue()
    last: queue.Queue[Event] = queue.Queue()
    with DummyEngine(["word " * 2000] * CONCURRENT + ["late", "last"], delay_s=0.02) as engine:
        running = [engine.submit(HELLO, lambda event: None) for _ in range(CONCURRENT)]
        waiting = engine.submit(HELLO, late.put)
        engine.submit(HELLO, last.put)
        waiting.cancel()
        waiting.cancel()
        event = late.get_nowait()
        assert isinstance(event, DoneEvent)
        assert event.finish_reason == "cancelled"
        assert engine.stats().waiting >= 1
        for job in running:
            job.cancel()
        event = last.get(timeout=60)
        assert isinstance(event, TokenEvent)
        assert event.text == "last"
    assert late.empty()
