"""``airust replay run``: does the answer in a capsule come again?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airust.cli.common import ModelOption, model_files, open_engine

if TYPE_CHECKING:
    from airust.engines.capsule import Capsule
    from airust.engines.replay import Difference, ReplayReport
    from airust.types import TopLogprob

EXAMPLE = "airust replay run capsule.json --model runs/tiny --engine mistralrs"


def run(
    capsule: Annotated[Path, typer.Argument(help="What `airust replay save` wrote.")],
    model: ModelOption = None,
    engine: Annotated[
        str | None, typer.Option("--engine", "-e", help="The capsule's own if not given.")
    ] = None,
    any_weights: Annotated[
        bool, typer.Option("--any-weights", help="Compare also a model with other weights.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the comparison to this file.")
    ] = None,
) -> None:
    """Ask the same or another engine for a capsule's answer, and compare token by token.

    Exit code 0 for an exact match, 1 for a difference.
    """
    from airust.engines.capsule import load_capsule
    from airust.engines.replay import check_model, replay
    from airust.files import write_json

    loaded = load_capsule(capsule)
    spec = engine or loaded.recording.engine
    path = model_files(spec, model)
    check_model(loaded, path, any_weights)
    with open_engine(spec, str(path)) as judge:
        report = replay(loaded, judge, spec)
    if json_file is not None:
        write_json(json_file, report.to_dict())
    _show(loaded, report)
    if not report.match:
        raise typer.Exit(1)


def _show(capsule: Capsule, report: ReplayReport) -> None:
    recorded = capsule.recording
    for what, name, version, settings in (
        ("capsule", recorded.engine, recorded.engine_version, recorded.settings),
        ("replay ", report.engine, report.engine_version, report.settings),
    ):
        typer.echo(f"{what}  {name} {version or ''} ({settings.get('dtype', 'dtype unknown')})")
    if report.because:
        typer.echo(f"Compared teacher-forced, the capsule's own tokens given: {report.because}")
    typer.echo(_verdict(report))
    if report.max_delta is not None:
        typer.echo(
            f"Logprobs of {report.compared} tokens differ by at most {report.max_delta:.1e} nats."
        )
    if report.difference is not None:
        _show_difference(capsule, report, report.difference)


def _verdict(report: ReplayReport) -> str:
    replayed = report.mode == "replayed"
    if report.difference is None:
        return f"{'Exact match' if replayed else 'Agreement'}: {report.tokens} tokens."
    where = f"token {report.difference.position + 1} of {report.tokens}"
    if not replayed:
        return f"The first logprob that is not near enough is at {where}."
    tied = " The two tokens are tied within the error of the logprobs."
    return f"First difference at {where}.{tied if report.difference.tied else ''}"


def _show_difference(capsule: Capsule, report: ReplayReport, difference: Difference) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", f"capsule: {capsule.recording.engine}", f"replay: {report.engine}")
    if report.mode == "replayed":
        names = {t.token_id: t.text for t in (*difference.recorded_top, *difference.replayed_top)}
        chosen = (_name(names, token) for token in (difference.expected, difference.got))
        table.add_row("says", *chosen)
    for rank in range(max(len(difference.recorded_top), len(difference.replayed_top))):
        sides = (_top(difference.recorded_top, rank), _top(difference.replayed_top, rank))
        table.add_row(str(rank + 1), *sides)
    Console(markup=False).print(table)


def _name(names: dict[int | None, str], token: int | None) -> str:
    if token is None:
        return "(the end)"
    return f"{names[token]!r}" if token in names else f"token {token}"


def _top(top: tuple[TopLogprob, ...], rank: int) -> str:
    return f"{top[rank].logprob:9.4f}  {top[rank].text!r}" if rank < len(top) else ""
