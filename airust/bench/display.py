"""Show parts of a report in a notebook; figures are also written as PNG files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure

from airust.bench.plot_style import DPI


class Handle(Protocol):
    """A place in the notebook that can be filled later."""

    def update(self, content: object) -> None:
        """Replace what stands there."""


def show(markdown: str) -> None:
    """Show Markdown as the cell's output."""
    from IPython.display import Markdown, display

    display(Markdown(markdown))


def placeholder(markdown: str) -> Handle:
    """Show Markdown that a later cell replaces."""
    from IPython.display import Markdown, display

    handle: Handle = display(Markdown(markdown), display_id=True)
    return handle


def fill(place: Handle, markdown: str) -> None:
    """Replace a placeholder by Markdown."""
    from IPython.display import Markdown

    place.update(Markdown(markdown))


def show_figure(
    figure: Figure | None,
    name: str,
    alt: str,
    out: Path,
    place: Handle | None = None,
) -> None:
    """Show a figure with its alternative text and write it to ``out/figures/NAME.png``.

    Args:
        alt: what it shows, in words, for whoever cannot see it.
    """
    from IPython.display import Image, display

    if figure is None:
        return
    image = Image(data=save_figure(figure, name, out), alt=alt)
    if place is None:
        display(image)
    else:
        place.update(image)


def save_figure(figure: Figure, name: str, out: Path) -> bytes:
    """Write a figure as PNG and return its bytes."""
    buffer = io.BytesIO()
    # No creation time or software version in the file: the same results give the same bytes.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    path = out / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()
