"""Pictures of memory for the Rust notebooks: what is on the stack, what it points at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from airust.lessons.figure import BLUE, GREEN, GREY, ORANGE, VERMILLION, new_figure

COLOURS = {"owner": BLUE, "borrow": GREEN, "moved": GREY, "heap": ORANGE, "freed": VERMILLION}
ROW, WIDTH = 0.8, 3.0


@dataclass(frozen=True, slots=True)
class Box:
    """A value in memory."""

    name: str
    fields: tuple[str, ...]  # one row each
    kind: str = "heap"  # owner, borrow, moved, heap, freed
    points_at: tuple[tuple[int, str], ...] = ()  # (row, name of another box)


def memory(stack: Sequence[Box], heap: Sequence[Box], title: str = "") -> Figure:
    """Stack at the left, heap (or static memory) at the right, arrows between them."""
    rows = max(sum(len(box.fields) + 1 for box in side) for side in (stack, heap))
    figure = new_figure(8, 0.9 + 0.36 * rows)
    axes = figure.subplots()
    axes.set(xlim=(-0.2, 9.2), ylim=(-rows * ROW - 0.2, 0.6))
    axes.axis("off")
    axes.set_title(title, fontsize=10, loc="left")
    places: dict[str, tuple[float, float]] = {}
    for x, side, boxes in ((0.0, "stack", stack), (5.9, "heap or static memory", heap)):
        axes.text(x + WIDTH, 0.15, side, ha="right", color=GREY, fontsize=9)
        places |= _draw(axes, boxes, x)
    for box in (*stack, *heap):
        for row, target in box.points_at:
            x, y = places[box.name]
            to_x, to_y = places[target]
            axes.add_patch(
                FancyArrowPatch(
                    (x + WIDTH, y - row * ROW - ROW / 2),
                    (to_x, to_y - ROW / 2),
                    arrowstyle="-|>",
                    mutation_scale=12,
                    color=COLOURS[box.kind],
                    linestyle="--" if box.kind in ("borrow", "moved") else "-",
                )
            )
    return figure


def _draw(axes: Axes, boxes: Sequence[Box], x: float) -> dict[str, tuple[float, float]]:
    """Draw boxes below each other; where the upper left corner of each is."""
    places, y = {}, 0.0
    for box in boxes:
        colour = COLOURS[box.kind]
        places[box.name] = (x, y)
        label = f" ({box.kind})" if box.kind in ("moved", "freed") else ""
        name = box.name + label
        axes.text(x, y + 0.15, name, fontsize=9, family="monospace", color=colour)
        for row, text in enumerate(box.fields):
            corner = (x, y - (row + 1) * ROW)
            axes.add_patch(Rectangle(corner, WIDTH, ROW, fill=False, edgecolor=colour, lw=1.4))
            axes.text(
                x + 0.12, corner[1] + ROW / 2, text, va="center", fontsize=9, family="monospace",
                alpha=0.45 if box.kind in ("moved", "freed") else 1,
            )  # fmt: skip
        y -= (len(box.fields) + 1) * ROW
    return places
