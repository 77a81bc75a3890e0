"""Figures about the engines, and the one that sums up the report: pure functions of results.json.

A bar is an estimate, the black line its 95% interval, a hatched bar the A/A control.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from airust.bench.learning import scores
from airust.bench.metrics import Metric, metrics
from airust.bench.plot_style import (
    BLACK,
    THOUSANDS,
    colour,
    new_figure,
    tidy,
    title,
    value_label,
)
from airust.bench.plots_learning import draw_exam, draw_training, has_exam, has_training
from airust.bench.runner import AA_SUFFIX
from airust.bench.tables import number

Results = dict[str, Any]
HEADLINE_EXAMS = ("held_out", "held_out_new_wording", "explanations")
WIDEST = 1.8  # an interval is drawn up to this multiple of its estimate


def metric_panels(results: Results, keys: Sequence[str]) -> Figure:
    """One panel a metric: a bar an engine, its 95% interval, its value."""
    figure = new_figure(1.2 + 0.42 * len(_labels(results)))
    _fill_panels(figure, results, keys)
    return figure


def decode(results: Results) -> Figure:
    """Decode rate at every number of streams."""
    return metric_panels(results, _decode_keys(results))


def latency(results: Results) -> Figure:
    """Time to first token and prefill rate."""
    return metric_panels(results, ["ttft", "prefill"])


def memory(results: Results) -> Figure:
    """Peak memory and load time."""
    return metric_panels(results, ["memory", "load"])


def _decode_keys(results: Results) -> list[str]:
    return [f"decode_{streams}" for streams in results["parameters"]["streams"]]


def _labels(results: Results) -> list[str]:
    return [entry["label"] for entry in results["entries"] if entry["reason"] is None]


def _fill_panels(figure: Figure | SubFigure, results: Results, keys: Sequence[str]) -> Axes:
    """Draw the panels; the first one, which carries the names, is returned."""
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    by_key = {metric.key: metric for metric in metrics(results["parameters"]["streams"])}
    for axes, key in zip(panels, keys, strict=True):
        _draw_metric(axes, results, by_key[key])
    first: Axes = panels[0]
    first.invert_yaxis()
    return first


def _draw_metric(axes: Axes, results: Results, metric: Metric) -> None:
    engines = results["summary"][metric.key]["engines"]
    labels = _labels(results)
    for row, label in enumerate(labels):
        if label in engines:
            _draw_bar(axes, row, label, engines[label], metric.scale)
    axes.set_yticks(range(len(labels)), labels)
    better = "higher" if metric.higher_is_better else "lower"
    axes.set_xlabel(f"{metric.unit} ({better} is better)", fontsize=9)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.18)  # room for the value behind the longest bar
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(THOUSANDS)
    title(axes, metric.title)
    tidy(axes, "x")


def _draw_bar(axes: Axes, row: int, label: str, value: Results, scale: float) -> None:
    estimate = value["estimate"] * scale
    twin = label.endswith(AA_SUFFIX)
    axes.barh(
        row, estimate, height=0.62, color="white" if twin else colour(label),
        edgecolor=colour(label), hatch="////" if twin else None, linewidth=1,
    )  # fmt: skip
    end = estimate
    if value["low"] is not None:
        low, high = value["low"] * scale, value["high"] * scale
        end = min(high, WIDEST * estimate)
        axes.plot([low, end], [row, row], color=BLACK, linewidth=1.4, solid_capstyle="butt")
        if end < high:  # drawn whole it would squeeze all other bars; the arrow says "further"
            axes.plot([end], [row], ">", color=BLACK, markersize=5)
    value_label(axes, number(estimate), end, row)


def shares(results: Results) -> Figure:
    """Each rate as a percentage of what the measured ceilings allow."""
    found = results["shares"]
    titles = {metric.key: metric.title for metric in metrics(results["parameters"]["streams"])}
    labels = [label for label in _labels(results) if not label.endswith(AA_SUFFIX)]
    height = 0.8 / max(1, len(labels))
    figure = new_figure(1.4 + 0.17 * len(found) * (len(labels) + 1))
    axes = figure.subplots()
    for place, key in enumerate(found):
        for row, label in enumerate(labels):
            if label in found[key]:
                y = place + (row - (len(labels) - 1) / 2) * height
                share = 100 * found[key][label]["share"]
                name = label if place == 0 else None
                axes.barh(y, share, height=0.9 * height, color=colour(label), label=name)
                value_label(axes, f"{share:.1f}", share, y, size=8)
    axes.set_yticks(range(len(found)), [titles[key] for key in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel("share of the measured ceiling (%)")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    tidy(axes, "x")
    return figure


def parity(results: Results) -> Figure:
    """Largest and mean distance of every engine's logprobs from the reference."""
    report = results["parity"]
    found = [entry for entry in report["engines"] if entry["max_delta"]]
    figure = new_figure(1.3 + 0.4 * len(found))
    axes = figure.subplots()
    for row, entry in enumerate(found):
        tint = colour(entry["engine"])
        low, high = max(entry["mean_delta"], 1e-9), entry["max_delta"]
        axes.plot([low, high], [row, row], color=tint, linewidth=2)
        axes.plot([low], [row], "o", color="white", markeredgecolor=tint)
        axes.plot([high], [row], "o", color=tint)
    axes.axvline(report["tolerance"], color=BLACK, linestyle="--", linewidth=1)
    value_label(axes, "limit", report["tolerance"], -0.45, size=9)
    axes.set_xscale("log")
    axes.set_yticks(range(len(found)), [entry["engine"] for entry in found])
    axes.set_ylim(len(found) - 0.4, -0.7)
    axes.set_xlabel(
        "distance of logprobs from the reference (nats): mean (hollow) to largest (filled)"
    )
    tidy(axes, "x")
    return figure


def overview(results: Results) -> Figure:
    """The report in one picture: parity, decode rates, training curve, exam."""
    learned = has_training(results) or has_exam(results)
    heights = [1.9 + 0.38 * len(_labels(results)), *([3.1] if learned else [])]
    figure = new_figure(sum(heights))
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    upper = figure.add_subfigure(grid[0])
    upper.suptitle(_overview_title(results), fontsize=12.5, fontweight="bold", x=0.01, ha="left")
    _draw_badges(_fill_panels(upper, results, _decode_keys(results)), results)
    if learned:
        left, right = figure.add_subfigure(grid[1]).subplots(1, 2)
        draw_training(left, results)
        rows = scores(results.get("evaluation") or {})
        draw_exam(right, [row for row in rows if row["exam"] in HEADLINE_EXAMS])
    return figure


def _overview_title(results: Results) -> str:
    found = results["parity"]["engines"]
    passed = sum(entry["passed"] for entry in found)
    parameters = results["model"]["parameters"]
    size = f"{parameters / 1e6:.1f}M" if parameters >= 1e5 else f"{parameters:,}"
    return (
        f"One GPT of {size} parameters, {passed} of {len(found)} engines at proven parity, "
        f"{results['parameters']['cores']} CPU cores"
    )


def _draw_badges(axes: Axes, results: Results) -> None:
    """The parity verdict below each engine's name."""
    distance = {entry["engine"]: entry["max_delta"] for entry in results["parity"]["engines"]}
    texts = []
    for label in _labels(results):
        name, delta = label.removesuffix(AA_SUFFIX), distance.get(label)
        note = f"✓ |Δ| ≤ {number(delta)}" if delta else "✓ same tokens"
        texts.append(f"{name}\n{'A/A control' if label != name else note}")
    axes.set_yticks(range(len(texts)), texts, fontsize=8.5)
