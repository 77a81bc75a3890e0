"""Figures of the notebooks: one look, an alternative text, the same bytes every time.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart.
"""

from __future__ import annotations

import base64
import io
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#6B6B6B"
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)
DPI = 110


def new_figure(width: float = 8, height: float = 3.4) -> Figure:
    """An empty figure; sizes in inches."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def tidy(axes: Axes, title: str = "", grid: Literal["x", "y", "both"] | None = "y") -> None:
    """No box, a light grid, a small title at the left."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis=grid, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=10, loc="left")


def show(figure: Figure, alt: str) -> None:
    """Show a figure as a cell's output, with words for whoever cannot see it.

    The words are also the output's plain text, so that a test can compare them.
    """
    from IPython.display import display

    buffer = io.BytesIO()
    # no software version in the file: the same numbers give the same bytes
    figure.savefig(buffer, format="png", metadata={"Software": None})
    image = base64.b64encode(buffer.getvalue()).decode()
    content = {"image/png": image, "text/plain": alt}
    display(content, raw=True, metadata={"image/png": {"alt": alt}})
