"""``airust parity``: do the engines compute the same function from the same weights?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airust.cli.common import EnginesOption, ModelOption, existing_model, say, split_names

if TYPE_CHECKING:
    from airust.engines.parity import Divergence, EngineParity, ParityReport

EXAMPLE = "airust parity --model runs/tiny --engines torch,mistralrs --json parity.json"


def run(
    model: ModelOption = None,
    engines: EnginesOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything measured to this file.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="New tokens for each prompt.")] = 64,
) -> None:
    """Compare engines with PyTorch in float32, token by token.

    Exit code 1 if an engine differs by more than rounding explains, or fails. An engine that was
    loaded with fewer bits (torch:dtype=bfloat16, mistralrs:quantize=Q8_0) is measured, not judged.
    """
    folder, names = existing_model(model), split_names(engines)
    from rich.console import Console

    from airust.engines.parity import run_parity
    from airust.files import write_json

    with Console(stderr=True, markup=False).status("Loading ...") as status:
        report = run_parity(
            folder,
            names,
            new_tokens=tokens,
            on_progress=lambda what, done, total: status.update(
                f"{what}: prompt {done + 1} of {total}"
            ),
        )
    if json_file is not None:
        write_json(json_file, report.to_dict())
    _show(report)
    wanted_but_absent = names is not None and any(
        engine.status == "unavailable" for engine in report.engines
    )
    if wanted_but_absent or not report.passed:
        raise typer.Exit(1)


def _show(report: ParityReport) -> None:
    from rich.console import Console
    from rich.table import Table

    typer.echo(f"Reference: {report.reference}")
    typer.echo(f"{report.prompts} prompts x {report.new_tokens} tokens; Δ = |logprob difference|")
    table = Table("engine", "dtype", "max Δ", "mean Δ", "max KL", "same answers", "parity")
    table.columns[0].overflow = "fold"  # a long name with options stays whole
    for engine in report.engines:
        numbers = (engine.max_delta, engine.mean_delta, engine.max_kl)
        table.add_row(
            engine.engine,
            engine.dtype or "",
            *("" if number is None else f"{number:.1e}" for number in numbers),
            f"{engine.equal} of {engine.prompts}" if engine.prompts else "",
            engine.status,
        )
    Console(markup=False).print(table)
    for engine in report.engines:
        _explain(engine)
    if not any(engine.status != "unavailable" for engine in report.engines):
        say("No engine was compared; `airust engines` tells how to install one.")


def _explain(engine: EngineParity) -> None:
    """What the table has no room for."""
    if engine.status != "passed":
        typer.echo(f"{engine.engine}: {engine.reason}")
    if engine.max_delta is None and engine.status == "passed":
        typer.echo(f"{engine.engine}: gives no logprobs, judged by its tokens alone.")
    if engine.divergence is not None:
        typer.echo(f"{engine.engine}: {_difference(engine, engine.divergence)}")


def _difference(engine: EngineParity, first: Divergence) -> str:
    where = f"prompt {first.prompt}, token {first.position}"
    what = f"{where}: the likeliest two are {first.margin:.1e} nats apart"
    if first.tied:
        return f"{engine.tied} answers leave the reference at a tie within the error ({what})."
    return f"first difference at {what}."
