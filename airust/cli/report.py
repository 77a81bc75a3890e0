"""``airust report``: notebooks that measure and explain, one or a matrix of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from airust.cli.bench.bar import with_bar
from airust.cli.common import existing_model, say, split_names
from airust.types import AirustError, UserError

EXAMPLE = "airust report --model runs/tiny --out reports/latest --set launches=5"
SEVERAL = ("engine_comparison", "quantisation")  # whose models are a list


def run(
    name: Annotated[
        str,
        typer.Argument(help="engine_comparison, serving_load, training_scaling or quantisation."),
    ] = "engine_comparison",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report's files.")
    ] = None,
    models: Annotated[
        list[Path] | None, typer.Option("--model", "-m", help="Model folder; may be repeated.")
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option("--engines", help="NAME or NAME:OPTION=VALUE,...; all if not given."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-p", metavar="NAME=VALUE", help="A parameter of the notebook."),
    ] = None,
    hasty: Annotated[
        bool, typer.Option("--quick", help="Some minutes: no thread sweep, few short launches.")
    ] = False,
    matrix: Annotated[
        Path | None, typer.Option(help="A matrix.toml: several reports, into dated folders.")
    ] = None,
    runner: Annotated[
        str, typer.Option(help="Where a matrix is measured: here, or on a cluster by ray.")
    ] = "here",
    ray_address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster; one of this machine if absent.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what --out holds.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Of a matrix: measure again what is complete.")
    ] = False,
) -> None:
    """Measure and write a report with tables and plots, as a notebook and as an offline page.

    An engine that fails parity is not timed. A matrix that is run again goes on where it stopped.
    """
    if matrix is not None:
        if out or models or engines or settings or resume or hasty:
            raise UserError(
                "A matrix says everything itself; only --runner and --force go with it."
            )
        _run_matrix(matrix, runner, ray_address, force)
        return
    if out is None:
        raise UserError("Say with --out where the report's files should go, or give a --matrix.")
    parameters = parse(settings or [])
    if models or name in SEVERAL:
        folders = [existing_model(path).as_posix() for path in models or (None,)]
        parameters |= {"models": folders} if name in SEVERAL else {"model": folders[0]}
    if engines is not None:
        parameters["engines"] = split_names(engines)
    from airust.bench.kinds import measurement, quick
    from airust.bench.report import run_report

    if hasty:
        parameters = quick(measurement(name)) | parameters
    paths = with_bar(lambda tell: run_report(name, out, parameters, tell, resume))
    say(f"Executed notebook, figures and results.json are in {paths.folder}; the page:")
    typer.echo(paths.html)


def _run_matrix(path: Path, runner: str, address: str | None, force: bool) -> None:
    from airust.bench.matrix import read_matrix, run_matrix

    if runner not in ("here", "ray"):
        raise UserError(f"--runner is '{runner}' but must be here or ray.")
    found = read_matrix(path)
    if runner == "ray":
        from airust.bench.ray_runner import RayRunner

        with RayRunner(address) as cluster:
            outcomes = with_bar(
                lambda tell: run_matrix(
                    found, tell, force, lambda r, f: cluster.measure(r, f, tell)
                )
            )
    else:
        outcomes = with_bar(lambda tell: run_matrix(found, tell, force))
    for outcome in outcomes:
        page = outcome.folder / "report.html"
        typer.echo(f"{outcome.row.name}: {outcome.error or page}")
    say(f"All reports: {found.out / 'index.html'}")
    if failed := [outcome.row.name for outcome in outcomes if outcome.error]:
        raise AirustError(f"Not complete: {', '.join(failed)}.")


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
