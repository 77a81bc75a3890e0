"""The figure of the quantisation report: what is lost against what is gained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from airust.bench.engine_tables import weight_bytes
from airust.bench.plot_style import colour, new_figure, tidy, title, value_label
from airust.bench.tables import is_twin, number

Results = dict[str, Any]
LINE = 0.055  # of the figure's height: a line of text
FLOOR = 1e-12  # nats; a divergence of nothing has no place on a logarithmic axis


def points(view: Results) -> list[dict[str, Any]]:
    """Label, bytes of the weights, mean KL in nats, tokens/s at one stream: where all are known."""
    kl = {found["engine"]: found["mean_kl"] for found in view["parity"]["engines"]}
    rates = view["summary"].get("decode_1", {"engines": {}})["engines"]
    found = []
    for entry in view["entries"]:
        label, size = entry["label"], weight_bytes(view, entry)
        if not is_twin(label) and label in rates and kl.get(label) is not None and size:
            found.append(
                {"label": label, "bytes": size, "kl": kl[label], "rate": rates[label]["estimate"]}
            )
    return found


def spread(heights: Sequence[float], least: float) -> list[float]:
    """Heights in ascending order, each moved up until it is so far above the one before.

    >>> spread([0.0, 0.5, 0.6, 5.0], 1.0)
    [0.0, 1.0, 2.0, 5.0]
    """
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + least) if found else height)
    return found


def trade(view: Results) -> Figure | None:
    """Divergence against bytes, and against speed; None where there is nothing to trade."""
    found = points(view)
    if not found:
        return None
    figure = new_figure(3.8)
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_yscale("log")
    sides = ((left, "bytes", 1e6), (right, "rate", 1.0))
    for axes, key, unit in sides:
        for point in found:
            axes.plot(point[key] / unit, max(point["kl"], FLOOR), "o", color=colour(point["label"]))
    low, high = (math.log10(end) for end in left.get_ylim())
    heights = sorted((math.log10(max(point["kl"], FLOOR)), point["label"]) for point in found)
    apart = spread([height for height, _ in heights], LINE * (high - low))
    places = {label: 10**place for (_, label), place in zip(heights, apart, strict=True)}
    for axes, key, unit in sides:
        for point in found:
            value_label(axes, point["label"], point[key] / unit, places[point["label"]], size=8)
    left.set_ylabel("mean KL to float32 (nats)")
    left.set_xlabel("bytes of the weights (MB)")
    right.set_xlabel("decode rate, 1 stream (tokens/s)")
    for axes, name in ((left, "Quality against bytes"), (right, "Quality against speed")):
        axes.set_xlim(0, axes.get_xlim()[1] * 1.35)
        title(axes, name)
        tidy(axes, "y")
    return figure


def trade_alt(view: Results) -> str:
    """The figure in words."""
    parts = [
        f"{p['label']} {number(p['bytes'] / 1e6)} MB, {number(p['kl'])} nats, "
        f"{number(p['rate'])} tokens/s"
        for p in points(view)
    ]
    return f"Scatter plots of mean KL against bytes and against speed: {'; '.join(parts)}."
