"""From the records of a run to results.json: a pure function, so that every figure has a source.

Estimates, intervals, ratios and shares of ceilings are those of the notebook's report
(``metrics``); what is added here is what several models, a thread sweep and a shared machine need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airust.bench.contention import reasons, usual_times
from airust.bench.journal import Record
from airust.bench.metrics import loaded_settings, shares, summary, withheld
from airust.bench.parity_gate import gated, read_entry
from airust.bench.run_folder import frame
from airust.bench.runner import Entry, with_aa_pair
from airust.bench.tuning import fitted, judge, quiet_launches, with_threads

SCHEMA = 2
MATRIX_RATES = ("matmul_fp32", "matmul_bf16", "matmul_int8")
FAILURES = 2  # failed launches after which an entry is not launched again


def build_results(records: Sequence[Record]) -> dict[str, Any]:
    """Everything that is known so far."""
    plan, found = records[0], list(records)
    calibrations = [c for record in found for c in record.get("calibration", ())]
    usual = usual_times(calibrations) if calibrations else None
    return frame(SCHEMA, "engines", found) | {
        "calibration": {"usual": usual, "measured": len(calibrations)},
        "ceilings": best_ceilings(found),
        "missing": plan["missing"],
        "models": [model_results(found, model, usual) for model in plan["models"]],
    }


def of_kind(records: Sequence[Record], kind: str, model: str) -> list[Record]:
    """The records of one kind about one model."""
    return [record for record in records if record["key"][:2] == [kind, model]]


def best_ceilings(records: Sequence[Record]) -> dict[str, Any] | None:
    """What the machine reached once it can reach: the best of the measurements."""
    found = [record["ceilings"] for record in records if record["key"][0] == "ceilings"]
    if not found:
        return None
    rates = {name: max(x[name] for x in found) for name in MATRIX_RATES}
    sizes = {size: max(x["bandwidth"][size] for x in found) for size in found[0]["bandwidth"]}
    return {"threads": found[0]["threads"], "bandwidth": sizes, **rates}


def model_entries(
    records: Sequence[Record], model: Mapping[str, Any], tuned: bool = True
) -> list[dict[str, Any]]:
    """The engines of one model as far as the records go, with the threads that the sweep chose.

    Of those that passed parity the first one is the baseline and comes a second time, as the
    A/A twin. ``reason`` says why an engine is not timed, and is None where it is.
    """
    name, spec, quiet = model["name"], model["spec"], _quiet(records)
    longest = max(spec["prompt_tokens"] + spec["new_tokens"], spec["prefill_tokens"] + 1)
    entries = []
    for record in of_kind(records, "parity", name):
        entry = fitted(Entry(**record["entry"]), max(spec["streams"]), longest)
        launches = [x for x in of_kind(records, "tune", name) if x["key"][2] == entry.label]
        if launches and tuned:
            entry = with_threads(entry, judge(launches, quiet)["threads"])
        entries.append(gated(entry, record["parity"]["tolerance"], record["parity"]["engines"][0]))
    passed = [entry for entry in entries if entry["reason"] is None]
    twins = with_aa_pair([read_entry(entry) for entry in passed[:1]])[1:]
    return entries + [passed[0] | {"label": twin.label} for twin in twins]


def given_up(records: Sequence[Record], model: str, label: str) -> str | None:
    """Why an engine is not launched again: it answered wrongly, or failed twice."""
    launches = [*of_kind(records, "tune", model), *of_kind(records, "launch", model)]
    own = [launch for launch in launches if launch["label"] == label]
    failed = [str(launch["error"]) for launch in own if launch["error"]]
    wrong = next((str(launch["error"]) for launch in own if launch["checks"]["wrong"]), None)
    return wrong or (failed[-1] if len(failed) >= FAILURES else None)


def model_results(
    records: Sequence[Record], model: Mapping[str, Any], usual: Mapping[str, float] | None
) -> dict[str, Any]:
    """All that one model's records say."""
    name, streams = model["name"], model["spec"]["streams"]
    launches = [_compact(x, usual) for x in of_kind(records, "launch", name)]
    entries = model_entries(records, model)
    labels = [entry["label"] for entry in entries if entry["reason"] is None]
    for entry in entries:
        if entry["reason"] is None:
            label = entry["label"]
            good = any(x["label"] == label and not x["error"] for x in launches)
            failed = None if good else given_up(records, name, label)
            entry["reason"] = withheld(launches, label) or failed
            entry |= loaded_settings(launches, label)
    ceilings = best_ceilings(records)
    found = summary(launches, labels, streams, model["spec"]["seed"]) if launches else {}
    parity = of_kind(records, "parity", name)
    return {
        "model": model["model"],
        "parameters": {**model["spec"], "notes": model["notes"]},
        "workload_sha256": model["workload_sha256"],
        "parity": _merged([record["parity"] for record in parity]),
        "quality": {x["key"][2]: x["quality"] for x in of_kind(records, "quality", name)},
        "learning": model["learning"],
        "tuning": _tuning(records, name),
        "entries": entries,
        "baseline": labels[0] if labels else None,
        "summary": found,
        "shares": shares(
            found, entries, ceilings, model["model"]["parameters_read_per_token"], streams
        )
        if found and ceilings
        else {},
        "launches": launches,
    }


def _merged(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One report from those of single engines."""
    whole: dict[str, Any] = next((report for report in reports if "reference" in report), {})
    shared = {key: whole.get(key) for key in ("reference", "prompts", "new_tokens")}
    engines = [
        found | {"tolerance": report["tolerance"]}
        for report in reports
        for found in report["engines"]
    ]
    return shared | {
        "tolerance": min((report["tolerance"] for report in reports), default=None),
        "engines": engines,
    }


def _tuning(records: Sequence[Record], name: str) -> dict[str, Any]:
    """Label -> what the sweep found."""
    launches, quiet = of_kind(records, "tune", name), _quiet(records)
    labels = dict.fromkeys(str(launch["key"][2]) for launch in launches)
    return {label: judge([x for x in launches if x["key"][2] == label], quiet) for label in labels}


def _quiet(records: Sequence[Record]) -> list[Mapping[str, Any]]:
    return quiet_launches([record for record in records if record["key"][0] == "tune"])


def _compact(record: Record, usual: Mapping[str, float] | None) -> dict[str, Any]:
    """A launch without its single steps, and whether the machine was ours."""
    kept = {name: value for name, value in record.items() if name not in ("key", "steps")}
    return kept | {"contended": reasons(record, usual) if usual else []}
