"""Launch every engine several times, interleaved in random order, and keep every record.

A block holds one launch of every entry, in an order of its own; a phase in which the host is slow
then meets all engines rather than one. The reference engine is entered twice under two names (the
A/A pair): the difference between the two is what the method cannot see through.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from airust.bench.child import run_worker
from airust.bench.contention import HostActivity
from airust.bench.measure import Answer, BatchResult, StepResult, slow_down, step_values
from airust.bench.statistics import warm_up
from airust.bench.verify import Reference, check_answer, count_checks
from airust.bench.workload import Workload, read_step
from airust.gpt.tokenizer import Tokenizer

AA_SUFFIX = " (A/A)"
LAUNCH_TIMEOUT_S = 180.0
SLOWED = 1.5  # times; a longer cache alone slows less at these lengths


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the benchmark: an engine with its options under a label."""

    label: str
    engine: str
    options: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-3  # margin up to which leaving the reference counts as a tie
    pool: int | None = None  # size of every thread pool; None leaves it to the engine
    serve: str | None = None  # the engine behind a server of our own that this one asks

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How the entries are launched."""

    launches: int  # blocks
    threads: int  # cores of every engine
    seconds: float  # after which a launch leaves out further repeats
    seed: int = 0
    timeout_s: float = LAUNCH_TIMEOUT_S  # after which a launch has stalled


def with_aa_pair(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries and the first one again."""
    if not entries:
        return ()
    return (*entries, replace(entries[0], label=entries[0].label + AA_SUFFIX))


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that the launches of one run share."""

    model: Path
    workload: Workload
    references: Sequence[Reference]
    tokenizer: Tokenizer
    settings: RunSettings

    def launch(self, entry: Entry) -> dict[str, Any]:
        """One launch as a record: what was measured, whether the output was right, values."""
        job = {
            "kind": "launch",
            "engine": entry.engine,
            "model": str(self.model),
            "options": entry.options,
            "threads": self.settings.threads,
            "pool": entry.pool,
            "serve": entry.serve,
            "workload": self.workload.to_dict(),
            "seconds": self.settings.seconds,
        }
        host, start = HostActivity(), time.perf_counter()
        result = run_worker(job, self.settings.timeout_s)
        wall = time.perf_counter() - start
        steps = result.pop("steps", [])
        checks = count_checks(self._checks(steps, entry.tolerance))
        record = {
            "label": entry.label,
            "wall_s": wall,
            **host.since(result.get("cpu_s")),
            **result,
            "checks": checks,
            "steps": [_compact(step) for step in steps],
            "values": {},
            "warm_up": {},
            "marks": _marks(steps),
        }
        if not record["error"] and checks["wrong"]:
            record["error"] = f"{checks['wrong']} wrong answers, the first: {checks['first_wrong']}"
        if not record["error"]:
            values = _values(steps, result, self.workload.spec.streams)
            record["values"], record["warm_up"] = settled(values)
        return record

    def _checks(self, steps: list[dict[str, Any]], tolerance: float) -> Iterator[Any]:
        for step in steps:
            for batch in step["batches"]:
                for answer in batch["answers"]:
                    number = answer["prompt"]
                    yield check_answer(
                        answer,
                        self.workload.prompts[number],
                        self.references[number],
                        self.tokenizer,
                        tolerance,
                    )


def _values(
    steps: list[dict[str, Any]], result: dict[str, Any], streams: Sequence[int]
) -> dict[str, list[float]]:
    """Metric -> the repeats of this launch; warm-up left out."""
    values: dict[str, list[float]] = {
        "load": [result["load_s"]],
        "memory": [result["peak_memory_bytes"]],
    }
    for step in steps:
        if not step["step"]["warmup"]:
            for name, value in step_values(_step_result(step)).items():
                values.setdefault(name, []).append(value)
    if not result["batching"]:
        few = min(streams)
        for name, count in product(("decode", "cpu_per_token"), streams):
            if f"{name}_{few}" in values:
                values[f"{name}_{count}"] = values[f"{name}_{few}"]
    return values


def settled(
    values: Mapping[str, Sequence[float]],
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """The repeats without those in which something still warmed up, and how many those were.

    One repeat of every point came before these; this finds what it did not warm.
    """
    kept, dropped = {}, {}
    for name, repeats in values.items():
        slower = name.startswith(("ttft", "cpu_", "load", "memory"))
        count = warm_up(list(repeats) if slower else [1 / value for value in repeats])
        kept[name] = list(repeats[count:])
        if count:
            dropped[name] = count
    return kept, dropped


def _marks(steps: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader has to know of a launch; it stays among the others."""
    alone = [_step_result(s).batches[-1] for s in steps if _decodes_alone(s["step"])]
    found = [x for batch in alone if (x := slow_down(batch.answers[0])) is not None]
    marks = []
    if found and median(found) > SLOWED:
        marks.append(
            f"a token took {median(found):.2f} times as long in the second half of an answer"
        )
    seconds = [batch.seconds for batch in alone]
    half = len(seconds) // 2
    if half and (later := median(seconds[-half:]) / median(seconds[:half])) > SLOWED:
        marks.append(f"an answer took {later:.2f} times as long at the end of the launch")
    return marks


def _decodes_alone(step: dict[str, Any]) -> bool:
    return step["kind"] == "decode" and step["streams"] == 1 and not step["warmup"]


def _step_result(values: dict[str, Any]) -> StepResult:
    batches = tuple(
        BatchResult(**(b | {"answers": tuple(Answer(**a) for a in b["answers"])}))
        for b in values["batches"]
    )
    return StepResult(read_step(values["step"]), batches)


def _compact(step: dict[str, Any]) -> dict[str, Any]:
    """A step for the record: times and counts without the words."""
    return {
        "kind": step["step"]["kind"],
        "streams": step["step"]["streams"],
        "warmup": step["step"]["warmup"],
        "batches": [
            {
                "seconds": batch["seconds"],
                "cpu_s": batch["cpu_s"],
                "window_s": batch["window_s"],
                "window_tokens": batch["window_tokens"],
                "tokens": [answer["tokens"] for answer in batch["answers"]],
                "first_s": [answer["first_s"] for answer in batch["answers"]],
                "total_s": [answer["total_s"] for answer in batch["answers"]],
            }
            for batch in step["batches"]
        ],
    }
