"""The bar of a measurement: what is being done, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from airust.cli.common import say

if TYPE_CHECKING:
    from airust.bench.pace import Status


T = TypeVar("T")


def with_bar(run: Callable[[Callable[[Status], None]], T], out: str | None = None) -> T:
    """Run a measurement with a bar.

    Args:
        out: its folder, if --resume can go on there: Ctrl+C says so.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:44}"), BarColumn(24), TextColumn("{task.fields[left]}"),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0, left="")

        def tell(status: Status) -> None:
            share = status.spent_s / max(1e-9, status.spent_s + status.left_s)
            left = f"{minutes(status.left_s)} left"
            bar.update(task, description=status.what, completed=share, left=left)

        try:
            return run(tell)
        except KeyboardInterrupt:
            bar.stop()
            if out is not None:
                say(f"Stopped. What was measured is in {out}; --resume goes on with it.")
            raise


def minutes(seconds: float) -> str:
    """Seconds in the words of a progress bar.

    >>> minutes(42.3), minutes(90)
    ('42 s', '1 min 30 s')
    """
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
