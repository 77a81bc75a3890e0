"""Figures about training: rate by threads, and the loss of the timed steps."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from airust.bench.plot_style import BLACK, BLUE, GREY, new_figure, tidy, title, value_label
from airust.bench.tables import is_twin, number

Results = dict[str, Any]


def scaling(found: Results) -> Figure | None:
    """Training rate against threads, with what perfect scaling would be, and the loss by step."""
    rates = found["summary"].get("rate", {"engines": {}})["engines"]
    rows = [
        (entry["threads"], rates[entry["label"]])
        for entry in found["entries"]
        if entry["label"] in rates and not is_twin(entry["label"])
    ]
    if not rows:
        return None
    figure = new_figure(3.4)
    left, right = figure.subplots(1, 2)
    for threads, value in rows:
        left.plot(threads, value["estimate"], "o", color=BLUE)
        if value["low"] is not None and value["high"] < 10 * value["estimate"]:
            left.plot([threads] * 2, [value["low"], value["high"]], color=BLACK, linewidth=1.4)
        value_label(left, number(value["estimate"]), threads, value["estimate"])
    first, most = rows[0], max(threads for threads, _ in rows)
    per_thread = first[1]["estimate"] / first[0]
    left.plot([first[0], most], [first[1]["estimate"], per_thread * most], "--", color=GREY)
    left.set_ylim(bottom=0)
    left.set_xticks(sorted({threads for threads, _ in rows}))
    left.set_xlabel("threads (dashed: perfect scaling)")
    left.set_ylabel("tokens/s")
    title(left, f"Training rate, preset {found['name']}")
    right.plot(range(1, len(found["losses"]) + 1), found["losses"], color=BLUE)
    right.set_xlabel("step")
    right.set_ylabel("loss (nats)")
    title(right, "Loss of the timed steps")
    for axes in (left, right):
        tidy(axes, "y")
    return figure


def scaling_alt(found: Results) -> str:
    """The figure in words."""
    rates = found["summary"].get("rate", {"engines": {}})["engines"]
    parts = ", ".join(f"{label} {number(value['estimate'])}" for label, value in rates.items())
    losses = found["losses"]
    course = f" The loss goes from {losses[0]:.3f} to {losses[-1]:.3f}." if losses else ""
    return f"Training rate in tokens/s: {parts}.{course}"
