"""Who gets a step, a slot, a place in the queue; what is reused; what others may change.

Steps are counted, not timed: a request that decodes gets one token a step, so it is the clock.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airust.engines.base import Engine
from airust.engines.torch import TorchEngine
from airust.types import (
    DoneEvent,
    Event,
    Message,
    OverloadedError,
    Request,
    SamplingParams,
    TokenEvent,
)
from tests.conftest import RECITED
from tests.engines.torch.answers import TIMEOUT_S, Answer, ids_request

SYSTEM = [i % 300 + 50 for i in range(0, 700, 7)]  # a hundred tokens that prompts begin with


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Iterator[TorchEngine]:
    with TorchEngine.load(model_dir, threads=1) as engine:
        yield engine


class Clock:
    """A request that decodes from before the others come until it is stopped.

    ``at`` calls functions inside the step of the clock's n-th token.
    """

    def __init__(self, engine: Engine, at: dict[int, Callable[[], None]] | None = None) -> None:
        self.log: list[tuple[Any, Event]] = []  # of all requests, in order
        self._at, self._ticks = at or {}, 0
        self._started, self._free = threading.Event(), threading.Event()
        request = ids_request([40], max_tokens=250, ignore_eos=True)
        self._handle = engine.submit(request, self._tick)
        assert self._started.wait(TIMEOUT_S)  # the engine now waits in the first step

    def _tick(self, event: Event) -> None:
        self._started.set()
        assert self._free.wait(TIMEOUT_S)
        self._ticks += 1
        self.log.append((self, event))
        if self._ticks in self._at:
            self._at[self._ticks]()

    def run(self) -> None:
        self._free.set()

    def stop(self) -> None:
        self._handle.cancel()

    def steps(self, until: Answer) -> int:
        """Steps from the first one to the first event of a request."""
        first = next(i for i, (one, _) in enumerate(self.log) if one is until)
        return sum(one is self for one, _ in self.log[:first])


# Order


def test_a_short_answer_overtakes_a_long_one(engine: TorchEngine) -> None:
    log: list[Any] = []
    long = Answer(engine, ids_request([40], max_tokens=200, ignore_eos=True), log, held=True)
    short = Answer(engine, ids_request([41], max_tokens=3, ignore_eos=True), log)
    long.let_go()
    long.wait()
    assert log[-1][0] is long
    assert any(one is short and isinstance(event, DoneEvent) for one, event in log)
    both = [one for one, _ in log[log.index(next(e for e in log if e[0] is short)) :]][:5]
    assert both.count(long) >= 2  # they took turns


@pytest.mark.parametrize("chunk", [16, 50, 128])
def test_a_long_prompt_does_not_hold_up_others(model_dir: Path, chunk: int) -> None:
    with TorchEngine.load(model_dir, prefill_chunk=chunk, threads=1) as engine:
        clock = Clock(engine)
        late = Answer(engine, ids_request(range(50, 250), max_tokens=1), clock.log)
        clock.run()
        late.wait()
        clock.stop()
        # One token of the clock in each step that took a chunk; which of the two in the last of
        # these steps comes first depends on their slots.
        assert clock.steps(late) - -(-200 // chunk) in (0, 1)


def test_a_short_prompt_passes_a_long_one(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, prefill_chunk=16, threads=1) as engine:
        clock = Clock(engine)
        long = Answer(engine, ids_request(range(50, 250), max_tokens=1), clock.log)
        short = [
            Answer(engine, ids_request(range(260 + i, 268 + i), max_tokens=1), clock.log)
            for i in range(3)
        ]
        clock.run()
        long.wait()
        clock.stop()
        # Each step has 8 tokens for the long prompt and 8 for a short one.
        assert [clock.steps(one) for one in short] in ([1, 2, 3], [2, 3, 4])
        # After the short ones have taken 24 tokens it has the whole chunk again.
        assert clock.steps(long) in (3 + 11, 3 + 12)


def test_short_prompts_do_not_starve_a_long_one(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, prefill_chunk=16, threads=1, max_batch=64) as engine:
        clock = Clock(engine)
        long = Answer(engine, ids_request(range(50, 250), max_tokens=1), clock.log)
        short = [
            Answer(engine, ids_request(range(260 + i, 276 + i), max_tokens=1), clock.log)
            for i in range(60)
        ]
        clock.run()
        long.wait()
        assert clock.steps(long) in (25, 26)  # half of each chunk: 200 tokens at 8 a step
        for answer in short:
            answer.wait()
        clock.stop()
        order = [one for one, event in clock.log if isinstance(event, DoneEvent) and one in short]
        assert order == short  # of equals the first comes first


def test_equal_prompts_are_answered_in_order(model_dir: Path) -> None:
    """Not all at the end, as if each got its share of every step."""
    with TorchEngine.load(model_dir, prefill_chunk=32, threads=1) as engine:
        clock = Clock(engine)
        answers = [
            Answer(engine, ids_request(range(50 + i, 114 + i), max_tokens=1), clock.log)
            for i in range(4)
        ]
        clock.run()
        answers[-1].wait()
        clock.stop()
        steps = [clock.steps(answer) for answer in answers]
        assert steps in ([2, 4, 6, 8], [3, 5, 7, 9])


# Cancelling


def test_cancel_frees_the_slot_within_one_step(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, max_batch=1, threads=1) as engine:
        first: queue.SimpleQueue[Event] = queue.SimpleQueue()
        ready = threading.Event()

        def cancel_at_the_first_token(event: Event) -> None:
            ready.wait(TIMEOUT_S)
            handle.cancel()
            first.put(event)

        handle = engine.submit(ids_request([40], max_tokens=200), cancel_at_the_first_token)
        second = Answer(engine, ids_request([41], max_tokens=2, ignore_eos=True))
        third = Answer(engine, ids_request([42], max_tokens=2))
        third.handle.cancel()
        ready.set()
        assert isinstance(first.get(timeout=TIMEOUT_S), TokenEvent)
        done = first.get(timeout=TIMEOUT_S)
        assert isinstance(done, DoneEvent)
        assert (done.finish_reason, done.usage.completion_tokens) == ("cancelled", 1)
        assert len(second.ids()) == 2
        done = third.wait()
        assert isinstance(done, DoneEvent)
        assert (done.finish_reason, done.usage.completion_tokens) == ("cancelled", 0)
        assert len(third.events) == 1


def test_cancel_while_prefilling_and_while_waiting(model_dir: Path) -> None:
    """Both end with the next step, in which the next one in the queue gets its first token."""
    with TorchEngine.load(model_dir, max_batch=2, prefill_chunk=1, threads=1) as engine:
        cancelled: list[Answer] = []

        def cancel() -> None:
            assert (engine.stats().running, engine.stats().waiting) == (2, 2)
            for answer in cancelled:
                answer.handle.cancel()

        clock = Clock(engine, at={5: cancel})
        prefilling = Answer(engine, ids_request(range(50, 250), max_tokens=3), clock.log)
        waiting = Answer(engine, ids_request([41], max_tokens=3), clock.log)
        last = Answer(engine, ids_request([42], max_tokens=1, ignore_eos=True), clock.log)
        cancelled += [prefilling, waiting]
        clock.run()
        last.wait()
        clock.stop()
        for answer in cancelled:
            done = answer.wait()
            assert isinstance(done, DoneEvent)
            assert (done.finish_reason, done.usage.completion_tokens) == ("cancelled", 0)
            assert clock.steps(answer) == 5  # the step after the fifth began with them
        assert clock.steps(last) in (5, 6)  # and its token came in that step


# The queue


def test_a_full_queue_refuses(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, max_batch=1, max_queue=2, threads=1) as engine:
        running = Answer(engine, ids_request([40], max_tokens=250, ignore_eos=True), held=True)
        assert running.begun.wait(TIMEOUT_S)
        waiting = [Answer(engine, ids_request([41], max_tokens=1)) for _ in range(2)]
        assert (engine.stats().running, engine.stats().waiting) == (1, 2)
        with pytest.raises(OverloadedError, match=r"^The queue is full \(max_queue is 2\)"):
            Answer(engine, ids_request([42], max_tokens=1))
        running.handle.cancel()
        running.let_go()
        assert [len(answer.ids()) for answer in waiting] == [1, 1]


def test_a_burst_for_which_there_is_room_is_not_refused(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, max_batch=4, max_queue=1, threads=1) as engine:
        running = Answer(engine, ids_request([40], max_tokens=9, ignore_eos=True), held=True)
        assert running.begun.wait(TIMEOUT_S)
        burst = [Answer(engine, ids_request([41 + i], max_tokens=1)) for i in range(4)]
        with pytest.raises(OverloadedError, match=r"max_queue is 1"):
            Answer(engine, ids_request([50], max_tokens=1))
        running.let_go()
        assert [len(answer.ids()) for answer in burst] == [1] * 4


def test_the_queue_is_fair(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, max_batch=1, threads=1) as engine:
        log: list[Any] = []
        answers = [Answer(engine, ids_request([40 + i], max_tokens=3), log) for i in range(6)]
        answers[-1].wait()
        ends = [one for one, event in log if isinstance(event, DoneEvent)]
        assert ends == answers


# Reuse


def test_the_next_turn_reuses_the_last(model_dir: Path) -> None:
    turns = [Message("user", "hello")]
    with (
        TorchEngine.load(model_dir, threads=1) as engine,
        TorchEngine.load(model_dir, threads=1, prefix_cache=False) as forgetful,
    ):
        before = 0
        for turn in range(3):
            request = Request(messages=tuple(turns), params=SamplingParams(max_tokens=15))
            answer, expected = engine.generate(request), forgetful.generate(request)
            assert answer.text == expected.text
            assert expected.usage.cached_tokens == 0
            assert answer.usage.cached_tokens >= before
            if turn:
                assert answer.usage.cached_tokens > 0
            before = answer.usage.prompt_tokens
            # Text that is tokenised as it was generated: an answer seldom is, a prompt always.
            turns += [Message("assistant", "Paris"), Message("user", "and Rust?")]


def test_the_next_turn_reuses_the_answer_too(reciter_dir: Path) -> None:
    """Its tokens are those that its text is tokenised to, which a trained model's mostly are."""
    with TorchEngine.load(reciter_dir, threads=1) as engine:
        turns = [Message("user", "Recite.")]
        params = SamplingParams(max_tokens=20)
        for _ in range(3):
            answer = engine.generate(Request(messages=tuple(turns), params=params))
            assert answer.text == RECITED * 2
            known = answer.usage.prompt_tokens + 20 - 1  # the last token was never read
            turns += [Message("assistant", answer.text), Message("user", "Again.")]
            usage = engine.generate(Request(messages=tuple(turns), params=params)).usage
            assert usage.cached_tokens >= known


@pytest.mark.parametrize("chunk", [8, 64, 500])
def test_a_beginning_that_many_share_is_computed_once(model_dir: Path, chunk: int) -> None:
    """Although they all come at once, and nothing is computed when the last of them comes."""
    requests = [ids_request([*SYSTEM, 40 + i, *range(50, 50 + i)], max_tokens=9) for i in range(12)]
    with TorchEngine.load(model_dir, threads=1, prefix_cache=False) as forgetful:
        expected = [Answer(forgetful, request).ids() for request in requests]
    with TorchEngine.load(model_dir, threads=1, prefill_chunk=chunk) as engine:
        clock = Clock(engine)
        answers = [Answer(engine, request, clock.log) for request in requests]
        clock.run()
        assert [answer.ids() for answer in answers] == expected
        clock.stop()
        usages = [done.usage for a in answers if isinstance(done := a.wait(), DoneEvent)]
        assert usages[0].cached_tokens == 0
        assert all(usage.cached_tokens >= len(SYSTEM) - 16 for usage in usages[1:])
        stats = engine.stats()
        assert stats.prefix_queries_tokens == 1 + sum(usage.prompt_tokens for usage in usages)
        assert stats.prefix_hits_tokens == sum(usage.cached_tokens for usage in usages)


def test_what_the_first_still_uses_is_reused(engine: TorchEngine) -> None:
    first = Answer(engine, ids_request([*SYSTEM, 1], max_tokens=100, ignore_eos=True), held=True)
    assert first.begun.wait(TIMEOUT_S)
    others = [Answer(engine, ids_request([*SYSTEM, 40 + i], max_tokens=1)) for i in range(5)]
    first.let_go()
    for other in others:
        done = other.wait()
        assert isinstance(done, DoneEvent)
        assert done.usage.cached_tokens == len(SYSTEM)
    assert isinstance(first.events[-1], TokenEvent)  # it is not done yet
    first.handle.cancel()


def test_what_a_cancelled_prompt_has_computed_is_reused(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, prefill_chunk=10, threads=1) as engine:
        prompt = ids_request([*SYSTEM, *SYSTEM], max_tokens=1)
        first: list[Answer] = []
        clock = Clock(engine, at={8: lambda: first[0].handle.cancel()})
        first.append(Answer(engine, prompt, clock.log))
        clock.run()
        done = first[0].wait()
        assert isinstance(done, DoneEvent)
        assert done.finish_reason == "cancelled"
        clock.stop()
        assert engine.generate(prompt).usage.cached_tokens in (70, 80)


# What others change: nothing


def test_a_seed_gives_the_same_tokens_whatever_else_runs(model_dir: Path) -> None:
    """At temperature 1, among 15 others of all kinds, and in chunks of any size."""
    prompt = [*SYSTEM[:70], 9]
    wanted = ids_request(prompt, max_tokens=120, temperature=1.0, seed=11, ignore_eos=True)
    with TorchEngine.load(model_dir, threads=1, prefix_cache=False) as engine:
        alone = Answer(engine, wanted).ids()
        assert len(set(alone)) > 20
    for chunk in (7, 128):
        with TorchEngine.load(model_dir, threads=1, prefill_chunk=chunk) as engine:
            others = [_another(engine, i) for i in range(15)]
            same = [Answer(engine, wanted) for _ in range(2)]  # the second from the prefix cache
            others += [_another(engine, i) for i in range(15, 20)]
            assert [answer.ids() for answer in same] == [alone, alone]
            for other in others:
                other.handle.cancel()


def _another(engine: Engine, i: int) -> Answer:
    params: list[dict[str, Any]] = [
        {"temperature": 1.0, "seed": i},
        {"temperature": 1.3, "top_p": 0.9},
        {"frequency_penalty": 1.0, "logprobs": 2},
        {"temperature": 1.0, "json_schema": json.dumps({"type": "string", "maxLength": 30})},
        {"temperature": 0.7, "top_k": 20, "logit_bias": ((7, 3.0),)},
    ]
    prompt = [41 + i, *range(60, 60 + 11 * i % 97)]
    return Answer(engine, ids_request(prompt, max_tokens=5 + 13 * i % 90, **params[i % 5]))
