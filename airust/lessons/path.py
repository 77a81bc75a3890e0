"""The map of the learning path: which notebook needs which, as a figure.

An arrow leads from what should be known to where it is used.
"""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from airust.lessons.figure import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, new_figure
from airust.lessons.stations import NEEDS, STATIONS

GROUPS = {
    "start": "#444444",
    "foundations": BLUE,
    "training": GREEN,
    "inference": ORANGE,
    "serving": VERMILLION,
    "rust": PURPLE,
}
MAP_ALT = (
    "Map of the path from left to right. 00 leads to the foundations 01 to 03 and to R1; these to "
    "autograd, optimisers, tokenizer and attention (04 to 07), which meet in pretraining (08). "
    "From there it goes on to scaling and tuning (09, 10), inference (11 to 15) and serving (16, "
    "17). Rust runs below, R1 to R5, and takes the forward pass from 07, statistics from 15."
)
WIDE, HIGH = 0.84, 0.56


def path_map() -> Figure:
    """The map as a figure."""
    figure = new_figure(11, 4.4)
    axes = figure.subplots()
    axes.set(xlim=(-0.6, 8.6), ylim=(-0.5, 4.5))
    axes.axis("off")
    for first, second in NEEDS:
        (_, x1, y1, _), (_, x2, y2, _) = STATIONS[first], STATIONS[second]
        ends = ((x1 + WIDE / 2, y1), (x2 - WIDE / 2, y2))
        if x1 == x2:
            ends = ((x1, y1 - HIGH / 2), (x2, y2 + HIGH / 2))
        axes.add_patch(
            FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=9, color="#999999", lw=0.9)
        )
    for number, (name, x, y, group) in STATIONS.items():
        axes.add_patch(
            FancyBboxPatch(
                (x - WIDE / 2, y - HIGH / 2), WIDE, HIGH, facecolor="white", lw=1.6,
                boxstyle="round,pad=0,rounding_size=0.1", edgecolor=GROUPS[group],
            )
        )  # fmt: skip
        axes.text(x, y + 0.12, number, ha="center", va="center", weight="bold", fontsize=9)
        axes.text(x, y - 0.11, name, ha="center", va="center", fontsize=7.5)
    return figure
