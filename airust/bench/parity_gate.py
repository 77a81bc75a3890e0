"""Parity comes first: an engine that does not compute the same function is not timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from airust.bench.child import run_worker
from airust.bench.runner import Entry
from airust.engines.registry import parse_spec, write_spec

PARITY_TIMEOUT_S = 600.0
EXACT = 1e-3  # nats; the largest difference of a logprob that passes in float32
# Where weights are rounded to 16 bits or fewer. bfloat16 moves a logprob of a random model of 100 M
# parameters by 0.28.
ROUGH = 0.5
PRECISION = ("dtype", "quantize")  # options that decide about rounding


def prove_entry(job: dict[str, Any], entry: Entry) -> dict[str, Any]:
    """The parity of one engine with its options, in a process of its own.

    The result is that of ``ParityReport.to_dict`` with this one engine under its label; where
    the process failed, only the engine's part of it is there.
    """
    limit = tolerance(parse_spec(entry.serve)[1] if entry.serve else entry.options)
    engine = write_spec(entry.engine, entry.options)
    job = job | {"engines": [engine], "tolerance": limit, "serve": entry.serve}
    result = run_worker(job, PARITY_TIMEOUT_S)
    report = {"tolerance": limit, **({} if result["error"] else result["parity"])}
    found = _crashed(entry.engine, result["error"]) if result["error"] else report["engines"][0]
    return report | {"engines": [found | {"engine": entry.label}]}


def _crashed(engine: str, error: str) -> dict[str, Any]:
    empty = ("version", "dtype", "settings", "max_delta", "mean_delta", "max_kl", "mean_kl")
    return {
        "engine": engine,
        "status": "error",
        "passed": False,
        "reason": error,
        **dict.fromkeys(empty),
        **dict.fromkeys(("positions", "unscored", "prompts", "equal", "tied"), 0),
    }


def tolerance(options: Mapping[str, object]) -> float:
    """How far logprobs may be off with these options of an engine.

    >>> tolerance({"threads": 2}), tolerance({"dtype": "bfloat16"})
    (0.001, 0.5)
    """
    chosen = {options.get(name) for name in PRECISION} - {None, "float32", "f32"}
    return ROUGH if chosen else EXACT


def gated(entry: Entry, limit: float, found: dict[str, Any]) -> dict[str, Any]:
    """An entry with what its parity check found.

    In a timed run an engine may leave the reference only at a tie: where the two likeliest
    tokens are closer than two logprobs that are each off by the tolerance.
    """
    return entry.to_dict() | {
        "tolerance": 2 * limit,
        "dtype": found["dtype"],
        "settings": found["settings"],
        "reason": None if _agrees(found, limit) else f"parity {found['status']}: {found['reason']}",
    }


def _agrees(found: dict[str, Any], limit: float) -> bool:
    """It passed, or it computes in fewer bits and is no further off than those explain."""
    return bool(found["passed"]) or (found["status"] == "measured" and found["max_delta"] <= limit)


def read_entry(record: dict[str, Any]) -> Entry:
    """What the launches need of an entry."""
    return Entry(**{field.name: record[field.name] for field in fields(Entry)})


def choose_requests(count: int | None) -> list[Any] | None:
    """``count`` of the built-in prompts, spread over all kinds; None for all of them."""
    from airust.engines.parity_prompts import built_in_requests

    requests = built_in_requests()
    if count is None or count >= len(requests):
        return None
    return [requests[number * len(requests) // count] for number in range(count)]


def run_parity_job(job: dict[str, Any]) -> dict[str, Any]:
    """The worker's side."""
    from airust.bench.own_server import served, told_settings
    from airust.engines.parity import run_parity

    engines = job["engines"]
    with served(job) as (where, _):
        report = run_parity(
            Path(job["model"]),
            engines,
            prompts=choose_requests(job["prompts"]),
            new_tokens=job["new_tokens"],
            tolerance=job["tolerance"],
            options={engine: where for engine in engines},
        ).to_dict()
    if job["serve"]:
        for found in report["engines"]:
            found["settings"] = told_settings(found["settings"] or {}, job["serve"])
            found["dtype"] = found["settings"]["dtype"]
    return report | {"model": Path(job["model"]).name}  # no path of this machine
