"""``airust train``: a preset, or a user's own data, into a model folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from airust.types import UserError

if TYPE_CHECKING:
    from airust.gpt.run import Run
    from airust.gpt.train import StepRecord

EXAMPLE = "airust train --preset tiny --out runs/tiny"


def run(
    preset: Annotated[str, typer.Option(help="smoke, tiny, small, medium or shakespeare-char.")] = (
        "tiny"
    ),
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/PRESET if absent.")] = (
        None
    ),
    data: Annotated[
        str | None,
        typer.Option(
            help="A text, JSONL or Parquet file, a folder or a hub name; absent: our corpus."
        ),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Model folder to start from, to tune it on --data.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Begin anew although --out holds a run.")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows of a global batch.")] = None,
    length: Annotated[int | None, typer.Option(help="Tokens a row.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Micro-batches a step.")] = None,
    stages: Annotated[
        str | None, typer.Option(help="mixed, or two-stage: statements first, then questions.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and data order.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; absent: all cores.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    target_val_loss: Annotated[
        float | None, typer.Option(help="Stop when the validation loss is at most this.")
    ] = None,
) -> None:
    """Train a GPT from scratch, then grade it. Ctrl+C stops with a checkpoint."""
    import torch

    from airust.gpt.distributed import processes
    from airust.gpt.memory import keep_freed_memory
    from airust.gpt.presets import preset as find_preset
    from airust.gpt.run import prepare

    changes = {
        "steps": steps, "rows": rows, "length": length, "accumulate": accumulate,
        "stages": _one_of("--stages", stages, "mixed", "two-stage"),
        "precision": _one_of("--precision", precision, "auto", "float32", "bfloat16"),
        "seed": seed,
    }  # fmt: skip
    config = find_preset(preset, **{k: v for k, v in changes.items() if v is not None})
    if preset == "shakespeare-char" and data is None:
        raise UserError("The preset shakespeare-char needs --data FILE, a text to learn from.")
    if threads is not None:
        torch.set_num_threads(threads)
    folder = out or Path("runs") / preset
    keep_freed_memory()
    with processes(_device(device)) as place:
        prepared = prepare(
            config, folder, data=data, init=init, resume=resume, force=force, place=place
        )
        console = Console(stderr=True, quiet=not place.is_first)
        reached = _train(prepared, console, target_val_loss)
        if place.is_first:
            _finish(prepared, console, folder, preset)
        if target_val_loss is not None and not reached and not prepared.trainer.interrupted:
            raise typer.Exit(1)


def _one_of(option: str, value: str | None, *known: str) -> str | None:
    if value is not None and value not in known:
        raise UserError(f"{option} is '{value}' but must be one of: {', '.join(known)}.")
    return value


def _device(wanted: str) -> str:
    import torch

    _one_of("--device", wanted, "auto", "cpu", "cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, but torch sees no CUDA device here.")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def _train(prepared: Run, console: Console, target: float | None) -> bool:
    """Drive the loop with a bar; True when the target validation loss was reached."""
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    trainer = prepared.trainer
    size = trainer.model.parameter_count() / 1e6
    console.print(
        f"Training [bold]{trainer.config.preset}[/]: {size:.1f} M parameters, "
        f"{trainer.config.steps} steps, {str(trainer.dtype).removeprefix('torch.')}, "
        f"from step {trainer.step}"
    )
    columns = (
        BarColumn(), TextColumn("{task.completed}/{task.total}"), TextColumn("{task.description}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=trainer.config.steps, completed=trainer.step)
        earlier, start = trainer.elapsed_s, time.monotonic()
        for record in trainer:
            bar.update(task, completed=record.step, description=_describe(record))
            if target is not None and record.val_loss is not None and record.val_loss <= target:
                whole = trainer.validate(prepared.validation)
                if whole <= target:
                    seconds = earlier + time.monotonic() - start
                    _print_target(console, record, target, whole, seconds)
                    return True
    return False


def _describe(record: StepRecord) -> str:
    text = f"loss {record.loss:.3f}  {record.tokens_per_s:,.0f} tok/s  MFU {record.mfu:.0%}"
    return text if record.val_loss is None else f"{text}  val {record.val_loss:.3f}"


def _print_target(
    console: Console, record: StepRecord, target: float, whole: float, seconds: float
) -> None:
    console.print(
        f"Validation loss {whole:.4f} <= {target} after [bold]{seconds:.1f} s[/] "
        f"({record.elapsed_s:.1f} s of steps, the rest validation), {record.tokens:,} tokens, "
        f"{record.tokens / record.elapsed_s:,.0f} tokens/s"
    )


def _finish(prepared: Run, console: Console, folder: Path, preset: str) -> None:
    trainer = prepared.trainer
    prepared.save()
    console.print(
        f"{trainer.tokens:,} tokens in {trainer.elapsed_s:.0f} s of training; model in {folder}"
    )
    if trainer.interrupted and not trainer.finished:
        console.print(
            f"Stopped at step {trainer.step}. Go on with: "
            f"airust train --preset {preset} --out {folder} --resume"
        )
        raise typer.Exit(130)
    with console.status("Grading ..."):
        result = prepared.evaluate()
    if result is not None:
        _print_scores(console, result)


def _print_scores(console: Console, result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("part of the exam", "language", "n", "exact", title="Greedy answers")
    for part, languages in result["scores"].items():
        for language, score in languages.items():
            table.add_row(part, language, str(score["n"]), f"{score['exact']:.1%}")
    console.print(table)
    for language, score in result["made_up"].items():
        console.print(
            f"Made-up names ({language}): says that it does not know {score['refused']:.0%}, "
            f"invents {score['invented']:.0%}"
        )
    console.print(result["comparison"])
