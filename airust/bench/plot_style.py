"""How every figure of a report looks: colour-blind-safe, units on every axis, 1200 pixels wide.

Colours are Okabe and Ito's (2008). An engine keeps its colour in all figures.
"""

from __future__ import annotations

from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from airust.bench.runner import AA_SUFFIX

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#000000", "#6B6B6B"
ENGINE_COLOURS = {
    "torch": BLUE,
    "transformers": ORANGE,
    "mistralrs": VERMILLION,
    "llamacpp": GREEN,
    "candle": PURPLE,
}
# Engines of others and those with options; the last three are Tol's (2021).
SPARE_COLOURS = (SKY, YELLOW, BLACK, "#882255", "#44AA99", "#999933")
WIDTH = 10.0  # inches; 120 dots an inch make 1200 pixels
DPI = 120
THOUSANDS = FuncFormatter(lambda x, _: f"{x:,g}")


def colour(label: str) -> str:
    """An engine's colour; its A/A twin has the same."""
    name = label.removesuffix(AA_SUFFIX)
    return ENGINE_COLOURS.get(name, SPARE_COLOURS[sum(name.encode()) % len(SPARE_COLOURS)])


def new_figure(height: float) -> Figure:
    """An empty figure of the report's width; the height is in inches."""
    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")


def tidy(axes: Axes, grid: Literal["x", "y"]) -> None:
    """No box, no ticks, a light grid along the values."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def title(axes: Axes, text: str) -> None:
    """A small title at the left."""
    axes.set_title(text, fontsize=10, loc="left")


def value_label(axes: Axes, text: str, x: float, y: float, size: float = 8.5) -> None:
    """A value to the right of a bar's end."""
    axes.annotate(
        text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=size
    )
