"""From the records of a load test to results.json: a pure function of ``raw.jsonl``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from airust.bench.contention import reasons, usual_times
from airust.bench.guidellm import agreement
from airust.bench.journal import Record
from airust.bench.metrics import metric_summary
from airust.bench.run_folder import frame
from airust.bench.serve_metrics import (
    LATENCIES,
    QUANTILES,
    RATES,
    Targets,
    lateness,
    point_values,
    slow_down,
)

SCHEMA = 1
LATE_S = 0.005  # a client later than this is part of what it measures
BUSY = 0.5  # cores; a client that uses more of one is, too
SLOWED = 1.5  # times: tokens of the second half of an answer against the first
STATUSES = ("exact", "tied", "unverified", "wrong", "failed")
KEYS = (*(f"{name}_{q}" for name in LATENCIES for q in QUANTILES), *RATES)


def build_results(records: Sequence[Record]) -> dict[str, Any]:
    """Everything that is known so far."""
    plan = records[0]
    given, launched = plan["parameters"], [x for x in records if x["key"][0] == "launch"]
    limits = Targets(given["ttft_s"], given["tpot_s"], given["e2e_s"])
    calibrations = [c for record in launched for c in record["calibration"]]
    usual = usual_times(calibrations) if calibrations else None
    launches = [_compact(record, limits, usual) for record in launched]
    servers = [server | _server(launches, server["label"]) for server in plan["servers"]]
    timed = [s["label"] for s in servers if s["reason"] is None]
    found = next((x for x in records if x["key"][0] == "agreement"), None)
    verified = [x["verified"] for x in records if x["key"][0] == "answers"]
    return frame(SCHEMA, "serve", records) | {
        "calibration": {"usual": usual, "measured": len(calibrations)},
        "model": plan["model"],
        "limits": {"ttft_s": limits.ttft_s, "tpot_s": limits.tpot_s, "e2e_s": limits.e2e_s},
        "points": plan["points"],
        "sessions_sha256": plan["sessions_sha256"],
        "verified": verified[0] if verified else 0,
        "servers": servers,
        "baseline": timed[0] if timed else None,
        "summary": _summary(launches, timed, plan["points"], given["seed"]),
        "agreement": agreement(found),
        "launches": launches,
    }


def _summary(
    launches: Sequence[Record],
    labels: Sequence[str],
    points: Sequence[Mapping[str, Any]],
    seed: int,
) -> dict[str, Any]:
    """Point -> figure -> estimates, ratios and the A/A band, as for engines."""
    if not labels:
        return {}
    found: dict[str, Any] = {}
    for point in points:
        for key in KEYS:
            summary = metric_summary(launches, labels, labels[0], f"{point['key']}/{key}", seed)
            if summary["engines"]:
                found.setdefault(point["key"], {})[key] = summary
    return found


def _server(launches: Sequence[Record], label: str) -> dict[str, Any]:
    """What is known of one server: settings, and why it has no figures."""
    own = [launch for launch in launches if launch["label"] == label]
    errors = [launch["error"] for launch in own if launch["error"]]
    broken = [launch["error"] for launch in own if launch["checks"]["wrong"]]
    reason = broken[0] if broken else errors[0] if errors and len(errors) == len(own) else None
    settings: dict[str, Any] = next(filter(None, (x["settings"] for x in own)), {})
    return {"reason": reason, "settings": settings}


def _compact(record: Record, limits: Targets, usual: Mapping[str, float] | None) -> dict[str, Any]:
    """A launch: figures of every point, what became of its answers, and what to know about it."""
    points = record.get("points", {})
    counts = Counter(a["status"] for point in points.values() for a in point["requests"])
    checks = {status: counts[status] for status in STATUSES}
    error = record["error"]
    wrong = [a["detail"] for p in points.values() for a in p["requests"] if a["status"] == "wrong"]
    if wrong and not error:
        error = f"{len(wrong)} wrong answers, the first: {wrong[0]}"
    values: dict[str, list[float]] = {}
    told: dict[str, Any] = {}
    for key, point in points.items():
        found = {} if error else point_values(point["requests"], limits)
        values |= {f"{key}/{name}": [value] for name, value in found.items() if value > 0}
        told[key] = _about(point, found)
    return {
        "label": record["label"],
        "block": record["block"],
        "error": error,
        "checks": checks | {"first_wrong": wrong[0] if wrong else None},
        "load_s": record.get("load_s"),
        "warm_up_s": record.get("warm_up_s", []),
        "peak_memory_bytes": record.get("peak_memory_bytes"),
        "settings": record.get("settings", {}),
        "steal_share": record["steal_share"],
        "others_share": record["others_share"],
        "load_average": record["load_average"],
        "contended": reasons(record, usual) if usual else [],
        "points": told,
        "marks": [mark for key in told for mark in _marks(key, told[key])],
        "values": values,
    }


def _about(point: Mapping[str, Any], found: Mapping[str, float]) -> dict[str, Any]:
    requests, seconds = point["requests"], point["seconds"]
    failed = [a["detail"] for a in requests if a["status"] == "failed"]
    return {
        "requests": len(requests),
        "failed": len(failed),
        "first_failure": failed[0] if failed else None,
        "seconds": seconds,
        "goodput": found.get("goodput"),
        "prompt_tokens": sum(a["prompt_tokens"] for a in requests),
        "cached_tokens": sum(a["cached_tokens"] for a in requests),
        "tokens": sum(a["tokens"] for a in requests),
        "pieces": sum(len(a["arrivals_s"]) for a in requests),
        "late_s": lateness(requests),
        "client_cores": point["client_cpu_s"] / seconds if seconds else None,
        "server_cpu_s": point["server_cpu_s"],
        "slow_down": slow_down(requests),
    }


def _marks(key: str, about: Mapping[str, Any]) -> list[str]:
    """What a reader has to know of a point; it stays among the others."""
    found = []
    if about["failed"]:
        found.append(
            f"{key}: {about['failed']} requests failed, the first: {about['first_failure']}"
        )
    if about["late_s"] > LATE_S:
        found.append(f"{key}: this client was up to {1e3 * about['late_s']:.0f} ms late")
    if (about["client_cores"] or 0) > BUSY:
        found.append(f"{key}: this client used {about['client_cores']:.2f} cores")
    if (about["slow_down"] or 0) > SLOWED:
        times = f"{about['slow_down']:.2f} times as long"
        found.append(f"{key}: a token took {times} in the second half of an answer")
    return found
