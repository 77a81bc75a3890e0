"""The words of ``airust bench serve``: Markdown made from its results.json alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airust.bench import tables
from airust.bench.metrics import Metric
from airust.bench.serve_metrics import LATENCIES, QUANTILES, RATES
from airust.bench.tables import NOTHING, number, percent, table

Results = dict[str, Any]
NAMES = {
    "ttft": "Time to first token",
    "itl": "Inter-token latency",
    "tpot": "Time per output token",
    "e2e": "End to end",
    "output_rate": "Output rate",
    "request_rate": "Answers a second",
    "goodput": "Good answers a second",
}
METRICS = {
    **{
        f"{name}_{q}": Metric(f"{name}_{q}", f"{NAMES[name]}, {q}", "ms", 1e3, False)
        for name in LATENCIES
        for q in QUANTILES
    },
    **{
        name: Metric(name, NAMES[name], "tokens/s" if name == "output_rate" else "1/s", 1, True)
        for name in RATES
    },
}
OVERVIEW = ("ttft_p50", "ttft_p90", "tpot_p50", "e2e_p50", "output_rate", "goodput")


def point_title(point: Results) -> str:
    """A point in words.

    >>> point_title({"kind": "rate", "value": 2.5})
    'Poisson arrivals, 2.5 sessions/s'
    """
    if point["kind"] == "rate":
        return f"Poisson arrivals, {point['value']:g} sessions/s"
    return f"closed loop, {point['value']:g} at once"


def summary_page(results: Results) -> str:
    """summary.md: everything on one page."""
    given = results["parameters"]
    parts = [
        "# Serving under load",
        f"{results['created']} · {results['host']['cpu']} · {given['cores']} cores",
        results["ended"],
        headline(results),
        "## What was asked",
        workload(results),
        "## Servers",
        servers(results),
        *(
            text
            for point in results["points"]
            for text in (f"## {_head(point)}", point_table(results, point))
        ),
        "## Checked against guidellm" if results["agreement"] else "",
        agreement(results),
        "## What to know about the launches",
        marks(results),
        tables.jobs(results),
        "## What the figures say and do not say",
        limits(results),
        "## Again",
        tables.command(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(point: Results) -> str:
    title = point_title(point)
    return title[0].upper() + title[1:]


def workload(results: Results) -> str:
    """Sizes, limits, and what became of all answers."""
    given, limits = results["parameters"], results["limits"]
    kinds = {
        "fixed": f"single questions of {given['prompt_tokens']} tokens, no two begin alike",
        "prefix": f"questions of {given['prompt_tokens']} tokens behind shared system messages of "
        f"{given['prefix_tokens']}",
        "chat": f"conversations of up to {given['turns']} turns, each with all turns before it",
    }
    good = [f"{NAMES[k[:-2]]} {number(1e3 * v)} ms" for k, v in limits.items() if v is not None]
    counts = {s: sum(x["checks"][s] for x in results["launches"]) for s in CHECKED}
    rows = [
        ("traffic", kinds[given["traffic"]]),
        ("answer", f"{given['new_tokens']} tokens, greedy"),
        ("launches", f"{len(results['launches'])}, at most {given['launches']} a server"),
        ("good is an answer within", ", ".join(good) or "no limit"),
        *((words, f"{counts[status]:,}") for status, words in CHECKED.items()),
        ("SHA-256 of what was asked", f"`{results['sessions_sha256']}`"),
    ]
    return table(("workload", ""), rows, ":--")


CHECKED = {
    "exact": "answers equal to the reference",
    "tied": "answers that left it at a tie",
    "unverified": "answers of the right length, not compared",
    "failed": "requests that failed",
    "wrong": "wrong answers",
}


def servers(results: Results) -> str:
    """What was measured, with which settings, and what has no figures."""
    how = {
        "own": "`airust serve`, a new process every launch",
        "url": "a server of somebody else, the same process all the time",
        "engine": "in process, without HTTP",
    }
    rows = []
    for server in results["servers"]:
        told = ", ".join(f"{k} {v}" for k, v in server["settings"].items())
        rows.append((server["label"], how[server["kind"]], told or NOTHING, server["reason"] or ""))
    return table(("server", "what it is", "settings", "why it has no figures"), rows, ":--")


def point_table(results: Results, point: Results) -> str:
    """All figures of one point."""
    found = results["summary"].get(point["key"])
    if not found:
        return "*Nothing was timed.*"
    rows = []
    for key, metric in METRICS.items():
        if key in found:
            name = f"{metric.title} ({metric.unit})"
            rows += [(name, *row) for row in tables.summary_rows(found[key], metric)]
            if (band := found[key]["aa_band"]) is not None:
                rows.append((name, "*A/A band*", f"*{band:.3f}x*", "", "", "", ""))
    header = (
        "figure",
        "server",
        "estimate",
        "95% interval",
        "launches",
        f"against {results['baseline']}",
        "verdict",
    )
    return table(header, rows)


def agreement(results: Results) -> str:
    """Our client beside guidellm."""
    found = results["agreement"]
    if found is None:
        return ""
    if found["error"]:
        return f"*{found['error']}*"
    rows = []
    for key, value in found["figures"].items():
        metric = METRICS[key]
        rows.append(
            (
                f"{metric.title} ({metric.unit})",
                number(value["ours"] * metric.scale),
                number(value["guidellm"] * metric.scale),
                f"{value['ratio']:.3f}",
                "agree" if value["near"] else "**disagree**",
            )
        )
    text = (
        f"guidellm {found['version']} and our client asked the same server in turn, "
        f"{found['rounds']} times each; medians. Its inter-token latency is our time per output "
        "token; its request latency also holds the closing of the stream."
    )
    return f"{text}\n\n{table(('figure', 'ours', 'guidellm', 'ratio', ''), rows)}"


def marks(results: Results) -> str:
    """Contention, failures, a late client, an engine that slows down."""
    rows = [
        (launch["label"], str(launch["block"]), note)
        for launch in results["launches"]
        for note in [
            *launch["contended"],
            *launch["marks"],
            *([launch["error"]] if launch["error"] else []),
        ]
    ]
    if not rows:
        return "No launch met other work, a failed request, or a client that was late."
    return table(("server", "block", "what happened"), rows, ":--")


def headline(results: Results) -> str:
    """The run in a few sentences."""
    lines = []
    for point in results["points"]:
        found = results["summary"].get(point["key"], {}).get("output_rate")
        if found:
            named = {k: v for k, v in found["engines"].items() if not tables.is_twin(k)}
            best = max(named, key=lambda label: float(named[label]["estimate"]))
            lines.append(
                f"{_head(point)}: **{best}** gives most, {number(named[best]['estimate'])} tokens/s"
                f"{_first_token(results, point, best)}."
            )
    return "\n".join(f"- {line}" for line in lines) or "*Nothing was timed.*"


def _first_token(results: Results, point: Results, label: str) -> str:
    found = results["summary"][point["key"]].get("ttft_p50", {}).get("engines", {}).get(label)
    return f", its first token after {number(1e3 * found['estimate'])} ms (median)" if found else ""


def limits(results: Results) -> str:
    """What a reader has to know about the figures."""
    cores = [p["client_cores"] for x in results["launches"] for p in x["points"].values()]
    busiest = max((c for c in cores if c is not None), default=0.0)
    cached = sum(p["cached_tokens"] for x in results["launches"] for p in x["points"].values())
    asked = sum(p["prompt_tokens"] for x in results["launches"] for p in x["points"].values())
    points = [
        "Times count from when a request was due, not from when this client sent it.",
        "Client and server share the cores: what the client uses is not there for the server. It "
        f"used at most {number(busiest)} cores.",
        "Time per output token is (last - first) / (n - 1), as vLLM defines it; inter-token "
        "latency is the distribution of the single gaps, 0 where tokens come in one piece.",
        f"{percent(cached / asked if asked else 0.0)} of prompt tokens came from a prefix cache, "
        "as the servers tell.",
        f"{number(results['verified'])} requests were compared with the reference token by token; "
        "of the others only the lengths.",
        "A quantile is given where a launch has enough answers; intervals are over launches.",
        "The closed loop includes its beginning and its end, where fewer are under way.",
    ]
    return "\n".join(f"- {point}" for point in points)


def shown(results: Results) -> Sequence[str]:
    """Figures that the terminal shows: those of the overview that were measured."""
    return [k for k in OVERVIEW if any(k in found for found in results["summary"].values())]
