"""The words of ``airust bench train``: Markdown made from its results.json alone."""

from __future__ import annotations

from typing import Any

from airust.bench import tables
from airust.bench.metrics import Metric
from airust.bench.tables import NOTHING, number, percent, table

Results = dict[str, Any]
METRICS = {
    metric.key: metric
    for metric in (
        Metric("rate", "Training rate", "tokens/s", 1, True),
        Metric("step", "Step time", "ms", 1e3, False),
        Metric("share", "Share of the matrix rate", "%", 100, True),
        Metric("memory", "Peak memory", "MB", 1e-6, False),
        Metric("start", "Time before the first step", "s", 1, False),
    )
}


def summary_page(results: Results) -> str:
    """summary.md: everything on one page."""
    parts = [
        "# Training, timed",
        f"{results['created']} · {results['host']['cpu']}",
        results["ended"],
        headline(results),
        *(text for found in results["presets"] for text in _parts(results, found)),
        *(["## The trained model", trained(results)] if results["learning"] else []),
        "## What to know about the launches",
        marks(results),
        tables.jobs(results),
        "## What the figures say and do not say",
        limits(results),
        "## Again",
        tables.command(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _parts(results: Results, found: Results) -> list[str]:
    return [
        f"## Preset {found['name']}",
        about(results, found),
        figures(found),
        "### Scaling with threads",
        scaling(found),
    ]


def about(results: Results, found: Results) -> str:
    """What was trained, and what it reached."""
    if found["parameters"] is None:
        return "*Nothing was timed.*"
    text = (
        f"{found['parameters']:,} parameters, {number(found['flops_per_token'] / 1e6)} MFLOP a "
        f"token, {found['tokens_a_step']:,} places a step, {results['parameters']['steps']} steps: "
        "loss "
        f"{found['losses'][0]:.3f} at the first, {found['losses'][-1]:.3f} at the last."
    )
    rows = [
        (
            entry["label"],
            entry["dtype"] or NOTHING,
            NOTHING if entry["final_loss"] is None else f"{entry['final_loss']:.4f}",
            NOTHING if entry["ceiling_flops"] is None else number(entry["ceiling_flops"] / 1e9),
            entry["reason"] or "",
        )
        for entry in found["entries"]
    ]
    header = (
        "setting",
        "computes in",
        "loss at the end",
        "matrix rate (GFLOP/s)",
        "why it has no figures",
    )
    return f"{text}\n\n{table(header, rows)}"


def figures(found: Results) -> str:
    """Every figure of every setting."""
    rows = []
    for key, metric in METRICS.items():
        if key in found["summary"]:
            name = f"{metric.title} ({metric.unit})"
            rows += [(name, *row) for row in tables.summary_rows(found["summary"][key], metric)]
            if (band := found["summary"][key]["aa_band"]) is not None:
                rows.append((name, "*A/A band*", f"*{band:.3f}x*", "", "", "", ""))
    if not rows:
        return ""
    against = f"against {found['baseline']}"
    return table(
        ("figure", "setting", "estimate", "95% interval", "launches", against, "verdict"), rows
    )


def scaling(found: Results) -> str:
    """How much of the additional threads becomes speed."""
    rows = [
        (label, f"{value['threads']:g}x", f"{value['rate']:.2f}x", percent(value["efficiency"]))
        for label, value in found["scaling"].items()
        if not tables.is_twin(label)
    ]
    if not rows:
        return "*One number of threads alone was measured.*"
    return table(("setting", "threads", "rate", "efficiency"), rows)


def trained(results: Results) -> str:
    """Curve and exam of the model that was named."""
    found = results["learning"]
    parts = (tables.training(found), tables.evaluation(found)) if found else ()
    return "\n\n".join(parts)


def marks(results: Results) -> str:
    """Contention, other losses, launches that slowed down."""
    rows = [
        (found["name"], launch["label"], str(launch["block"]), note)
        for found in results["presets"]
        for launch in found["launches"]
        for note in [
            *launch["contended"],
            *launch["marks"],
            *([launch["error"]] if launch["error"] else []),
        ]
    ]
    if not rows:
        return "No launch met other work, slowed down, or reached another loss."
    return table(("preset", "setting", "block", "what happened"), rows, ":--")


def headline(results: Results) -> str:
    """The run in a few sentences."""
    lines = []
    for found in results["presets"]:
        rates = found["summary"].get("rate", {}).get("engines", {})
        named = {label: value for label, value in rates.items() if not tables.is_twin(label)}
        if named:
            best = max(named, key=lambda label: float(named[label]["estimate"]))
            share = found["summary"]["share"]["engines"][best]["estimate"]
            lines.append(
                f"{found['name']}: **{best}** trains fastest, {number(named[best]['estimate'])} "
                f"tokens/s, {percent(share)} of the measured matrix rate."
            )
    return "\n".join(f"- {line}" for line in lines) or "*Nothing was timed.*"


def limits(results: Results) -> str:
    """What a reader has to know about the figures."""
    steps = [
        x["warm_up_steps"] for p in results["presets"] for x in p["launches"] if not x["error"]
    ]
    points = [
        "A launch is a process pinned to as many cores as it has threads; intervals are over "
        "launches, each with the median of its steps.",
        "Steps at the beginning that were slower than the rest are left out: "
        f"{max(steps, default=0)} at most.",
        "All launches train the same data from the same weights; a launch with another loss has no "
        "figures.",
        "The matrix rate is that of a square product of 768 in the same process and number format.",
    ]
    return "\n".join(f"- {point}" for point in points)
