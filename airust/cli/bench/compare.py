"""``airust bench compare``: two runs of one kind, before and after a change."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airust.cli.common import print_json

if TYPE_CHECKING:
    from airust.bench.compare import Change

EXAMPLE = "airust bench compare reports/before/results.json reports/after/results.json"
CHANGED = ("faster", "slower", "more", "less")


def run(
    before: Annotated[Path, typer.Argument(help="results.json of the earlier run.")],
    after: Annotated[Path, typer.Argument(help="results.json of the later run.")],
    against: Annotated[
        str | None,
        typer.Option(help="Compare ratios to this engine: cancels what the machine did."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also show what is no difference or undecided.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Say what got faster or slower, with 95% intervals."""
    from airust.bench.compare import compare, drift_notes, read_results

    old, new = read_results(before), read_results(after)
    changes, notes = compare(old, new, against), drift_notes(old, new)
    if as_json:
        print_json({"changes": [change.to_dict() for change in changes], "notes": notes})
        return
    _show([c for c in changes if everything or c.verdict in CHANGED], against)
    counts = Counter(change.verdict for change in changes)
    typer.echo("; ".join(f"{word}: {count}" for word, count in counts.most_common()))
    for note in notes:
        typer.echo(f"- {note}")


def _show(changes: list[Change], against: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from airust.bench.tables import number

    if not changes:
        return
    title = f"after / before, against {against}" if against else "after / before"
    table = Table("model", "figure", "engine", title, "95% interval", "")
    for change in changes:
        low, high = change.ratio.low, change.ratio.high
        table.add_row(
            change.model,
            change.title,
            change.engine,
            f"{number(change.ratio.estimate)}x",
            f"{number(low)} to {number(high)}" if low is not None else "",
            change.verdict,
        )
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 130  # a file has no width
    console.print(table)
