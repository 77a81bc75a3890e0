"""Figures about serving: how latency and rates grow with the load."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from airust.bench.plot_style import colour, new_figure, tidy, title
from airust.bench.serve_tables import METRICS
from airust.bench.tables import is_twin, number

Results = dict[str, Any]
PANELS = ("ttft_p50", "tpot_p50", "output_rate", "goodput")
KINDS = {"concurrency": "sessions at once", "rate": "sessions a second (Poisson)"}


def load(results: Results, kind: str) -> Figure | None:
    """A panel a figure: its estimate with the interval against the load; None without any."""
    points = [point for point in results["points"] if point["kind"] == kind]
    if not any(results["summary"].get(point["key"]) for point in points):
        return None
    figure = new_figure(5.4)
    panels = figure.subplots(2, 2).flat
    for axes, key in zip(panels, PANELS, strict=True):
        _draw(axes, results, points, key)
        axes.set_xlabel(KINDS[kind], fontsize=9)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        frameon=False,
        loc="outside lower center",
        ncols=4,
    )
    return figure


def _draw(axes: Axes, results: Results, points: list[Results], key: str) -> None:
    metric = METRICS[key]
    for server in results["servers"]:
        label, rows = server["label"], []
        for point in points:
            found = results["summary"].get(point["key"], {}).get(key, {"engines": {}})["engines"]
            if label in found:
                rows.append((point["value"], found[label]))
        if not rows:
            continue
        xs, ys = [x for x, _ in rows], [v["estimate"] * metric.scale for _, v in rows]
        style = "--" if is_twin(label) else "-"
        axes.plot(
            xs, ys, style, marker="o", markersize=4, color=colour(server["where"]), label=label
        )
        bars = [(x, v) for x, v in rows if v["low"] is not None and v["high"] < 10 * v["estimate"]]
        for x, v in bars:
            axes.plot(
                [x, x],
                [v["low"] * metric.scale, v["high"] * metric.scale],
                color=colour(server["where"]),
                linewidth=1,
            )
    axes.set_ylim(bottom=0)
    axes.set_ylabel(metric.unit)
    title(axes, metric.title)
    tidy(axes, "y")


def load_alt(results: Results, kind: str) -> str:
    """The figure in words."""
    parts = []
    for point in results["points"]:
        if point["kind"] == kind:
            for key in PANELS:
                found = results["summary"].get(point["key"], {}).get(key, {"engines": {}})
                parts += [
                    f"{METRICS[key].title} at {point['value']:g}, {label}: "
                    f"{number(value['estimate'] * METRICS[key].scale)} {METRICS[key].unit}"
                    for label, value in found["engines"].items()
                ]
    return f"Line charts against {KINDS[kind]}. {'; '.join(parts)}."
