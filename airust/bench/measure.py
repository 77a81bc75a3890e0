"""Time one engine through the engine contract.

Definitions, the same for every engine and independent of how it reports tokens:

* **time to first token**, s: from ``submit`` to the first event of a request for one new token;
* **prefill rate**, tokens/s: prompt tokens / time to first token;
* **decode rate** at one stream, tokens/s: (n2 - n1) / (t2 - t1), where one request gave n1 tokens
  in t1 seconds and another n2 tokens in t2 seconds. The slope leaves out prefill and what a request
  costs once, and knows nothing of single events;
* **streamed rate** at one stream, tokens/s: (n - 1) / time between an answer's first event and
  its last. It must agree with the decode rate, or the events do not come when tokens do;
* **decode rate** at S > 1 streams, tokens/s in total: tokens that came while all S answers were
  under way, none waiting for its first token and none complete, / that time. A slope between two
  batches would be the small difference of two long prefills. Where that time holds less than a
  quarter of the tokens, because an engine does not advance S answers at once, it is what came
  after the last answer had begun; where that is less than half, all tokens / all of the time;
* **CPU time**, s: user and system time of all threads of the process.

Token counts are the engine's own usage figures; whether they are true is checked against the
reference afterwards (``verify``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from airust.bench.workload import Batch, Step, Workload
from airust.engines.base import Engine
from airust.types import (
    DoneEvent,
    ErrorEvent,
    Event,
    Message,
    Request,
    SamplingParams,
    TokenEvent,
)


@dataclass(slots=True)
class Answer:
    """What one request gave."""

    prompt: int  # number of the prompt in the workload
    wanted_tokens: int
    text: str = ""
    token_ids: list[int | None] = field(default_factory=list)
    prompt_tokens: int = 0
    tokens: int = 0  # by the engine's usage
    cached_tokens: int = 0
    first_s: float | None = None  # from its own submission to its first event
    middle_s: float | None = None  # to the token event in the middle, of five or more
    total_s: float = 0.0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Requests submitted together: seconds from the first submission to the last answer."""

    seconds: float
    cpu_s: float
    answers: tuple[Answer, ...]
    window_s: float = 0.0  # the part of the time in which the batch only decoded
    window_tokens: float = 0.0  # that came in it


@dataclass(frozen=True, slots=True)
class StepResult:
    """One repeat of one point."""

    step: Step
    batches: tuple[BatchResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def run_workload(
    engine: Engine,
    workload: Workload,
    seconds: float,
    cpu_clock: Callable[[], float] = time.process_time,
) -> Iterator[StepResult]:
    """Work through the steps, warm-up first.

    An engine that answers one request after another decodes many streams at the rate of a few,
    by the definition above: only the point with the fewest streams is measured.

    After ``seconds`` only what a point lacks is done, one timed repeat, so that a slow engine
    costs bounded time and still has every point.
    """
    deadline = time.perf_counter() + seconds
    timed: set[tuple[str, int]] = set()
    few = min(workload.spec.streams)
    for step in workload.steps:
        point = (step.kind, step.streams)
        if step.kind == "decode" and step.streams > few and not engine.capabilities.batching:
            continue
        if (step.warmup or point in timed) and time.perf_counter() > deadline:
            continue
        if not step.warmup:
            timed.add(point)
        batches = (run_batch(engine, workload, batch, cpu_clock) for batch in step.batches)
        yield StepResult(step, tuple(batches))


def run_batch(
    engine: Engine,
    workload: Workload,
    batch: Batch,
    cpu_clock: Callable[[], float] = time.process_time,
) -> BatchResult:
    """Submit all requests of a batch, then wait for the last answer."""
    finished = threading.Semaphore(0)
    answers = tuple(Answer(number, batch.max_tokens) for number in batch.prompts)
    requests = [_request(engine, workload, answer) for answer in answers]
    collectors: list[_Collector] = []
    cpu, start = cpu_clock(), time.perf_counter()
    for answer, request in zip(answers, requests, strict=True):
        collectors.append(_Collector(answer, finished))
        engine.submit(request, collectors[-1])
    for _ in answers:
        finished.acquire()
    seconds, cpu_s = time.perf_counter() - start, cpu_clock() - cpu
    lines = [([c.start + t for t in c.times], c.answer.tokens) for c in collectors]
    return BatchResult(seconds, cpu_s, answers, *decode_window(lines))


def _request(engine: Engine, workload: Workload, answer: Answer) -> Request:
    # Where an engine cannot go on after the end of an answer, verify says so when one ends early.
    params = SamplingParams(
        max_tokens=answer.wanted_tokens, ignore_eos=engine.capabilities.ignore_eos
    )
    text = workload.prompts[answer.prompt].text
    return Request(messages=(Message("user", text),), params=params)


class _Collector:
    """The callback of one request: writes into its answer, then frees the waiting thread."""

    def __init__(self, answer: Answer, finished: threading.Semaphore) -> None:
        self.answer, self.finished = answer, finished
        self.pieces: list[str] = []
        self.times: list[float] = []  # of token events, from the start
        self.start = time.perf_counter()

    def __call__(self, event: Event) -> None:
        answer, now = self.answer, time.perf_counter() - self.start
        if answer.first_s is None:
            answer.first_s = now
        if isinstance(event, TokenEvent):
            self.pieces.append(event.text)
            self.times.append(now)
            answer.token_ids.append(event.token_id)
            return
        answer.total_s, answer.text = now, "".join(self.pieces)
        if len(self.times) >= 5:
            answer.middle_s = self.times[len(self.times) // 2]
        if isinstance(event, DoneEvent):
            answer.prompt_tokens = event.usage.prompt_tokens
            answer.tokens = event.usage.completion_tokens
            answer.cached_tokens = event.usage.cached_tokens
        elif isinstance(event, ErrorEvent):
            answer.error = str(event.error)
        self.finished.release()


def decode_window(lines: Sequence[tuple[Sequence[float], int]]) -> tuple[float, float]:
    """The time in which a batch only decoded, and the tokens that came in it.

    Where an engine reports runs of tokens, each event stands for as many.

    >>> decode_window([([1.0, 2.0, 3.0, 4.0], 4), ([2.0, 3.0, 4.0, 5.0], 4)])
    (2.0, 4.0)

    Args:
        lines: for each answer the times of its token events, and its tokens.
    """
    whole = sum(tokens for _, tokens in lines)
    if not all(times for times, _ in lines) or not whole:
        return 0.0, 0.0
    begun = max(times[0] for times, _ in lines)
    ends = [times[-1] for times, _ in lines]
    for end, least in ((min(ends), whole / 4), (max(ends), whole / 2)):
        inside = sum(
            tokens * sum(begun < t <= end for t in times) / len(times) for times, tokens in lines
        )
        if inside >= least and end > begun:
            return end - begun, inside
    return 0.0, 0.0


def steady_rate(batch: BatchResult) -> float | None:
    """Tokens/s of many streams together; None where nothing came."""
    if batch.window_s > 0:
        return batch.window_tokens / batch.window_s
    return _tokens(batch.answers) / batch.seconds or None


def slow_down(answer: Answer) -> float | None:
    """How much longer a token took in the second half of an answer than in the first.

    None where too few events came. An engine that reports runs of tokens is judged by its runs.
    """
    if answer.first_s is None or answer.middle_s is None:
        return None
    first, second = answer.middle_s - answer.first_s, answer.total_s - answer.middle_s
    events = len(answer.token_ids)
    middle = events // 2
    if first <= 0 or second <= 0:
        return None
    return (second / (events - 1 - middle)) / (first / middle)


def decode_rate(short: BatchResult, long: BatchResult) -> float | None:
    """Tokens/s between two answers; None where noise made the longer one the faster."""
    tokens = _tokens(long.answers) - _tokens(short.answers)
    seconds = long.seconds - short.seconds
    return tokens / seconds if tokens > 0 and seconds > 0 else None


def _streamed_rate(answer: Answer) -> float | None:
    seconds = answer.total_s - (answer.first_s or 0.0)
    return (answer.tokens - 1) / seconds if answer.tokens > 1 and seconds > 0 else None


def _tokens(answers: Sequence[Answer]) -> int:
    return sum(answer.tokens for answer in answers)


def step_values(result: StepResult) -> dict[str, float]:
    """The metrics that one step gives: name -> value in the unit of ``results.METRICS``."""
    step, last = result.step, result.batches[-1]
    if step.kind == "decode":
        one = step.streams == 1
        rate = decode_rate(result.batches[0], last) if one else steady_rate(last)
        values = {f"cpu_per_token_{step.streams}": last.cpu_s / max(1, _tokens(last.answers))}
        if one and (streamed := _streamed_rate(last.answers[0])):
            values["streamed_1"] = streamed
        return values | ({f"decode_{step.streams}": rate} if rate else {})
    answer = last.answers[0]
    if answer.first_s is None:
        return {}
    if step.kind == "ttft":
        return {"ttft": answer.first_s}
    return {"prefill": answer.prompt_tokens / answer.first_s}
