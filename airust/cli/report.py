"""``airust report``: the benchmark notebook, run on a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from airust.cli.common import EnginesOption, ModelOption, existing_model, say, split_names
from airust.types import UserError

EXAMPLE = "airust report --model runs/tiny --out reports/latest --set launches=5"


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report's files.")],
    model: ModelOption = None,
    engines: EnginesOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-p", metavar="NAME=VALUE", help="A parameter of the notebook."),
    ] = None,
) -> None:
    """Prove parity, measure every engine, and write a report with tables and plots.

    An engine that fails parity is not timed.
    """
    folder, names, parameters = existing_model(model), split_names(engines), parse(settings or [])
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from airust.bench.report import run_report

    columns = (TextColumn("{task.description:18}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        paths = run_report(
            folder,
            out,
            names,
            parameters,
            lambda p: bar.update(task, description=p.stage, completed=p.fraction),
        )
    say(f"Executed notebook, figures and results.json are in {paths.folder}; the page:")
    typer.echo(paths.html)


def parse(settings: Sequence[str]) -> dict[str, Any]:
    """Values are JSON where they can be read as such, and text otherwise.

    >>> parse(["launches=5", "streams=[1,4]", "note=warm start"])
    {'launches': 5, 'streams': [1, 4], 'note': 'warm start'}

    Raises:
        UserError: one is not of the form NAME=VALUE, or comes twice.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not (name and equals):
            raise UserError(f"'{setting}' must look like NAME=VALUE, for example launches=5.")
        if name in values:
            raise UserError(f"The parameter {name} is given twice.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values
