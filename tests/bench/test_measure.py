"""The stopwatch, against engines made for the purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import pytest

from airust.bench import measure
from airust.bench.measure import (
    Answer,
    BatchResult,
    StepResult,
    decode_rate,
    decode_window,
    run_batch,
    run_workload,
    step_values,
)
from airust.bench.workload import Batch, Step, Workload, WorkloadSpec, make_workload
from airust.engines.base import Capabilities, Engine, EventCallback, Handle
from airust.gpt.tokenizer import Tokenizer
from airust.types import (
    DoneEvent,
    EngineError,
    ErrorEvent,
    Request,
    Timings,
    TokenEvent,
    Usage,
)


class InstantEngine(Engine):
    """Answers within ``submit``; fails from its Nth request on."""

    name: ClassVar[str] = "instant"
    capabilities: ClassVar[Capabilities] = Capabilities(batching=True, ignore_eos=True)

    def __init__(self, works: int = 10**9) -> None:
        self.works = works
        self.requests: list[Request] = []

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        return cls()

    def submit(self, request: Request, on_event: EventCallback) -> Handle:
        self.requests.append(request)
        if len(self.requests) > self.works:
            on_event(ErrorEvent(EngineError("out of luck")))
        else:
            count = request.params.max_tokens
            for token in range(count):
                on_event(TokenEvent(f"{token} ", token_id=token))
            on_event(DoneEvent("length", Usage(7, count, 2), Timings(0.0, 0.0, 0.0)))
        return _Nothing()

    def close(self) -> None:
        pass


class _Nothing:
    def cancel(self) -> None:
        pass


@pytest.fixture(scope="module")
def workload(model_dir: Path) -> Workload:
    spec = WorkloadSpec(40, 60, 8, streams=(1, 2), repeats=3)
    return make_workload(Tokenizer.load(model_dir), spec)


def test_a_batch_keeps_what_every_request_gave(workload: Workload) -> None:
    engine = InstantEngine()
    result = run_batch(engine, workload, Batch((4, 5), 3))
    assert [answer.prompt for answer in result.answers] == [4, 5]
    for answer in result.answers:
        assert (answer.text, answer.token_ids) == ("0 1 2 ", [0, 1, 2])
        assert (answer.prompt_tokens, answer.tokens, answer.cached_tokens) == (7, 3, 2)
        assert answer.first_s is not None and 0 < answer.first_s < answer.total_s
        assert answer.error is None
    assert result.seconds >= max(answer.total_s for answer in result.answers)
    asked = engine.requests[0]
    assert asked.messages is not None and asked.messages[0].content == workload.prompts[4].text
    assert asked.params.ignore_eos and asked.params.temperature == 0


def test_a_failed_request_is_part_of_the_result(workload: Workload) -> None:
    answers = run_batch(InstantEngine(works=1), workload, Batch((0, 1), 2)).answers
    assert [answer.error for answer in answers] == [None, "out of luck"]


def test_all_steps_run_when_there_is_time(workload: Workload) -> None:
    results = list(run_workload(InstantEngine(), workload, seconds=60))
    assert [result.step for result in results] == list(workload.steps)
    assert json.dumps([result.to_dict() for result in results])


class SerialEngine(InstantEngine):
    """Answers one request after another."""

    capabilities: ClassVar[Capabilities] = Capabilities(ignore_eos=True)


def test_an_engine_without_batching_decodes_the_fewest_streams_alone(workload: Workload) -> None:
    steps = [result.step for result in run_workload(SerialEngine(), workload, seconds=60)]
    assert {(s.kind, s.streams) for s in steps} == {("ttft", 1), ("prefill", 1), ("decode", 1)}


def test_a_slow_engine_has_one_timed_repeat_of_every_point(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: float(next(ticks)))
    steps = [r.step for r in run_workload(InstantEngine(), workload, seconds=20)]
    assert steps[0].warmup
    assert [(s.kind, s.streams) for s in steps if not s.warmup] == [
        ("ttft", 1), ("prefill", 1), ("decode", 1), ("decode", 2)
    ]  # fmt: skip


def _batch(tokens: int, seconds: float, count: int = 1) -> BatchResult:
    answers = (
        Answer(0, tokens, tokens=tokens, prompt_tokens=60, first_s=0.5, total_s=4.5),
    ) * count
    return BatchResult(seconds, 2 * seconds, answers)


def test_the_decode_rate_is_a_slope() -> None:
    """4 x 10 tokens in 2 s, 4 x 40 in 5 s: 120 tokens more in 3 s, whatever prefill took."""
    assert decode_rate(_batch(10, 2.0, 4), _batch(40, 5.0, 4)) == pytest.approx(40.0)


def test_the_window_holds_what_comes_while_all_answers_are_under_way() -> None:
    """Two begin at 1 and 3 s, a token a second each; the first one ends at 8 s."""
    first, second = list(range(1, 9)), list(range(3, 11))
    assert decode_window([(first, 8), (second, 8)]) == (5, 10)
    # an event stands for a run of three tokens
    assert decode_window([(first, 24), (second, 24)]) == (5, 30)


def test_an_engine_that_never_advances_all_answers_is_measured_behind_the_last_beginning() -> None:
    """Of three answers one is over when the last one begins."""
    lines = [([1.0, 2.0], 2), ([2.0, 3.0, 4.0, 5.0], 4), ([3.0, 4.0, 5.0, 6.0], 4)]
    assert decode_window(lines) == (3.0, 5.0)


def test_answers_one_after_another_have_no_window() -> None:
    assert decode_window([([1.0, 2.0, 3.0], 3), ([4.0, 5.0, 6.0], 3)]) == (0.0, 0.0)
    assert decode_window([([], 0), ([1.0], 1)]) == (0.0, 0.0)
    assert decode_window([([1.0], 1), ([1.0], 1)]) == (0.0, 0.0)


def test_noise_gives_no_rate_rather_than_a_wrong_one() -> None:
    assert decode_rate(_batch(10, 2.0), _batch(40, 1.9)) is None
    assert decode_rate(_batch(10, 2.0), _batch(10, 3.0)) is None


def _result(kind: str, *batches: BatchResult, streams: int = 4) -> StepResult:
    step = Step("decode", streams, False, (Batch((0,), 1),) * len(batches))
    return StepResult(replace(step, kind=kind), batches)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (lambda: _result("ttft", _batch(1, 0.6)), {"ttft": 0.5}),
        (lambda: _result("prefill", _batch(1, 0.6)), {"prefill": 120.0}),
        (
            lambda: _result("decode", _batch(10, 2.0), _batch(40, 5.0), streams=1),
            {"decode_1": 10.0, "streamed_1": 39 / 4.0, "cpu_per_token_1": 10 / 40},
        ),
        (
            lambda: _result("decode", _batch(10, 2.0), _batch(40, 1.0), streams=1),
            {"streamed_1": 39 / 4.0, "cpu_per_token_1": 2 / 40},
        ),
        (
            lambda: _result("decode", replace(_batch(40, 5.0, 4), window_s=2.0, window_tokens=90)),
            {"decode_4": 45.0, "cpu_per_token_4": 10 / 160},
        ),
        (
            lambda: _result("decode", _batch(40, 5.0, 4)),
            {"decode_4": 32.0, "cpu_per_token_4": 10 / 160},
        ),
    ],
)
def test_the_metrics_of_a_step(
    result: Callable[[], StepResult], expected: dict[str, float]
) -> None:
    assert step_values(result()) == pytest.approx(expected)
