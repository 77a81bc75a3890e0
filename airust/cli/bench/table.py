"""The table that a benchmark prints: a section for each metric, in it a row for each contender."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

FILE_WIDTH = 140  # characters; a file has no width
Row = Sequence[str]  # the contender's label, then a cell for each column
Section = tuple[str, Iterable[Row]]  # a metric with its unit, and its rows


def console() -> Console:
    """Where the table goes: what it holds is shown as it is."""
    found = Console(markup=False, highlight=False)
    if not found.is_terminal:
        found.width = FILE_WIDTH
    return found


def metric_table(title: str, baseline: str, sections: Iterable[Section], *more: str) -> Table:
    """A table of estimates with intervals, ratios and verdicts.

    Args:
        baseline: what the ratios refer to.
        sections: what is shown, in this order.
        more: titles of further columns.
    """
    table = Table(title=title, title_justify="left")
    table.add_column(no_wrap=True)
    for column in ("", "95% interval", "launches", f"against {baseline}", "verdict", *more):
        table.add_column(column, justify="right")
    for heading, rows in sections:
        table.add_row(heading, style="bold")
        for label, *cells in rows:
            table.add_row(f"  {label}", *cells)
        table.add_section()
    return table
