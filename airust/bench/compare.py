"""What got faster or slower between two runs of ``airust bench engines``, ``serve`` or ``train``.

Runs at different times share no blocks: each engine's launches before stand against its launches
after (``statistics.change``). Within the band in which an engine differed from itself in either
run, nothing is called a difference. What the machine did in between moves every engine alike;
``against`` divides by an engine that stayed as it was, block by block, and cancels it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from airust.bench import engine_results, serve_results, serve_tables, train_results, train_tables
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


@dataclass(frozen=True, slots=True)
class Part:
    """What of a run can be compared with another run: a model, a load test, a preset."""

    name: str
    identity: str  # the same weights, prompts and sizes
    metrics: dict[str, Metric]  # by the key that launches and summary have
    summary: Results
    launches: list[Results]


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
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind not in PARTS or found.get("schema") != PARTS[kind][0]:
        raise UserError(f"'{path}' is not a results.json of this version's `airust bench`.")
    return dict(found)


def compare(before: Results, after: Results, against: str | None = None) -> list[Change]:
    """Every figure that both runs have.

    Raises:
        UserError: they have no model with the same weights and prompts in common, or ``against``
            was not measured.
    """
    found: list[Change] = []
    for old, new in _common_parts(before, after):
        for key, metric in new.metrics.items():
            if key in old.metrics:
                found += _changes(old, new, key, metric, against)
    if not found:
        raise UserError(
            f"There is nothing to compare with '{against}': it has no figures in both runs."
            if against
            else "The two runs have no figure in common."
        )
    return found


def _common_parts(before: Results, after: Results) -> list[tuple[Part, Part]]:
    old, new = ({part.identity: part for part in parts(run)} for run in (before, after))
    pairs = [(old[identity], part) for identity, part in new.items() if identity in old]
    if not pairs:
        raise UserError("The two runs have no model with the same weights and prompts in common.")
    return pairs


def parts(results: Results) -> list[Part]:
    """Everything in a run that another run may have, too."""
    return list(PARTS[results["kind"]][1](results))


def _models(results: Results) -> Iterator[Part]:
    for model in results["models"]:
        known = {
            metric.key: replace(metric, title=metric_title(model, metric))
            for metric in metrics(model["parameters"]["streams"])
        }
        same = [model["model"]["weights_sha256"], model["workload_sha256"]]
        name = model["model"]["name"]
        yield Part(name, _text(same), known, model["summary"], model["launches"])


def _loads(results: Results) -> Iterator[Part]:
    model = results["model"]
    for point in results["points"]:
        known = {
            f"{point['key']}/{key}": replace(m, key=key) for key, m in serve_tables.METRICS.items()
        }
        found = results["summary"].get(point["key"], {})
        summary = {f"{point['key']}/{key}": value for key, value in found.items()}
        weights = None if model is None else model["weights_sha256"]
        same = [weights, results["sessions_sha256"], point]
        name = serve_tables.point_title(point)
        yield Part(name, _text(same), known, summary, results["launches"])


def _presets(results: Results) -> Iterator[Part]:
    for found in results["presets"]:
        same = [found["name"], found["data_sha256"], results["parameters"]["steps"]]
        known = dict(train_tables.METRICS)
        yield Part(found["name"], _text(same), known, found["summary"], found["launches"])


PARTS: dict[str, tuple[int, Callable[[Results], Iterator[Part]]]] = {
    "engines": (engine_results.SCHEMA, _models),
    "serve": (serve_results.SCHEMA, _loads),
    "train": (train_results.SCHEMA, _presets),
}


def _text(values: object) -> str:
    return json.dumps(values, sort_keys=True)


def _changes(
    old: Part, new: Part, key: str, metric: Metric, against: str | None
) -> Iterator[Change]:
    bands = [part.summary.get(key, {}).get("aa_band") for part in (old, new)]
    band = max((band for band in bands if band is not None), default=1.0)
    before, after = (part.summary.get(key, {}).get("engines", {}) for part in (old, new))
    for label in after:
        if label not in before or label == against:
            continue
        first, second = (_samples(part, label, key, against) for part in (old, new))
        if first and second:
            ratio = change(first, second)
            word = _word(verdict(ratio, band), metric)
            yield Change(new.name, metric.key, metric.title, metric.unit, label, ratio, band, word)


def _samples(run: Part, label: str, key: str, against: str | None) -> list[list[float]]:
    """The launches of an engine, each divided by the control's launch in the same block."""
    own = collect(run.launches, label, key)
    if against is None:
        return list(own.values())
    control = collect(run.launches, against, key)
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
    old, new = before.get("ceilings"), after.get("ceilings")
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
