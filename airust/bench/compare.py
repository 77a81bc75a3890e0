"""What got faster or slower between two runs of ``airust bench engines``.

Runs at different times share no blocks: each engine's launches before stand against its launches
after (``statistics.change``). Within the band in which an engine differed from itself in either
run, nothing is called a difference. What the machine did in between moves every engine alike;
``against`` divides by an engine that stayed as it was, block by block, and cancels it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airust.bench.engine_results import SCHEMA
from airust.bench.engine_tables import metric_title
from airust.bench.metrics import Metric, collect, metrics
from airust.bench.statistics import Interval, change, launch_value, verdict
from airust.types import UserError

Results = dict[str, Any]
DRIFT = 1.1  # times: the machine itself was another one


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one engine, before and after."""

    model: str
    metric: str  # its key
    title: str
    unit: str
    engine: str
    ratio: Interval  # after / before
    band: float  # within which it says nothing
    verdict: str  # faster, slower, more, less, no difference, undecided, not known

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def read_results(path: Path) -> Results:
    """A results.json.

    Raises:
        UserError: it cannot be read or is something else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON: {error}.") from error
    if not isinstance(found, dict) or (found.get("kind"), found.get("schema")) != (
        "engines",
        SCHEMA,
    ):
        raise UserError(f"'{path}' is not a results.json of this version's `airust bench engines`.")
    return found


def compare(before: Results, after: Results, against: str | None = None) -> list[Change]:
    """Every figure that both runs have.

    Raises:
        UserError: they have no model with the same weights and prompts in common, or ``against``
            was not measured.
    """
    found: list[Change] = []
    for old, new in _common_models(before, after):
        for metric in metrics(_streams(old, new)):
            found += _changes(old, new, metric, against)
    if not found:
        raise UserError(
            f"There is nothing to compare with '{against}': it has no figures in both runs."
            if against
            else "The two runs have no figure in common."
        )
    return found


def _common_models(before: Results, after: Results) -> list[tuple[Results, Results]]:
    old = {_identity(model): model for model in before["models"]}
    pairs = [(old[_identity(m)], m) for m in after["models"] if _identity(m) in old]
    if not pairs:
        raise UserError("The two runs have no model with the same weights and prompts in common.")
    return pairs


def _identity(model: Results) -> str:
    return json.dumps([model["model"]["weights_sha256"], model["workload_sha256"]], sort_keys=True)


def _streams(old: Results, new: Results) -> list[int]:
    return [s for s in new["parameters"]["streams"] if s in old["parameters"]["streams"]]


def _changes(old: Results, new: Results, metric: Metric, against: str | None) -> Iterator[Change]:
    bands = [run["summary"].get(metric.key, {}).get("aa_band") for run in (old, new)]
    band = max((band for band in bands if band is not None), default=1.0)
    for label in new["summary"].get(metric.key, {}).get("engines", {}):
        if label not in old["summary"].get(metric.key, {}).get("engines", {}) or label == against:
            continue
        first, second = (_samples(run, label, metric.key, against) for run in (old, new))
        if first and second:
            ratio = change(first, second)
            yield Change(
                new["model"]["name"],
                metric.key,
                metric_title(new, metric),
                metric.unit,
                label,
                ratio,
                band,
                _word(verdict(ratio, band), metric),
            )


def _samples(run: Results, label: str, key: str, against: str | None) -> list[list[float]]:
    """The launches of an engine, each divided by the control's launch in the same block."""
    own = collect(run["launches"], label, key)
    if against is None:
        return list(own.values())
    control = collect(run["launches"], against, key)
    return [[launch_value(own[b]) / launch_value(control[b])] for b in own if b in control]


def _word(found: str, metric: Metric) -> str:
    if found not in ("higher", "lower"):
        return found
    if metric.key == "memory":
        return {"higher": "more", "lower": "less"}[found]
    return "faster" if (found == "higher") == metric.higher_is_better else "slower"


def drift(before: Results, after: Results) -> dict[str, float]:
    """How much faster the machine itself was after than before, by what was measured of it."""
    found = {}
    old, new = before["calibration"]["usual"], after["calibration"]["usual"]
    if old and new:
        found["hashing"] = old["compute_s"] / new["compute_s"]
        found["copying"] = old["memory_s"] / new["memory_s"]
    old, new = before["ceilings"], after["ceilings"]
    if old and new:
        found["matrix products"] = new["matmul_fp32"] / old["matmul_fp32"]
    return found


def drift_notes(before: Results, after: Results) -> list[str]:
    """What to know about the machine before believing a change."""
    notes = []
    if before["host"]["cpu"] != after["host"]["cpu"]:
        notes.append(f"Other processors: {before['host']['cpu']} and {after['host']['cpu']}.")
    moved = [
        f"{name} {factor:.2f}x"
        for name, factor in drift(before, after).items()
        if not 1 / DRIFT <= factor <= DRIFT
    ]
    if moved:
        notes.append(
            f"The machine itself changed its speed ({', '.join(moved)}); --against ENGINE cancels "
            "what moves all engines alike."
        )
    versions = {
        name: (before["versions"].get(name), version)
        for name, version in after["versions"].items()
        if before["versions"].get(name) != version
    }
    notes += [
        f"{name}: {old or 'absent'} before, {new} after." for name, (old, new) in versions.items()
    ]
    notes += [
        f"The run {word} is not complete: {results['ended']}"
        for word, results in (("before", before), ("after", after))
        if not results["complete"]
    ]
    return notes
