"""``airust bench train``: how fast a preset trains here, by number of threads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from airust.cli.bench.bar import with_bar
from airust.cli.common import print_json, say
from airust.types import AirustError

EXAMPLE = "airust bench train --preset tiny --out reports/train"


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results and raw records.")],
    preset: Annotated[
        list[str] | None, typer.Option(help="smoke, tiny, ...; may be repeated. tiny if absent.")
    ] = None,
    threads: Annotated[
        str, typer.Option(help="Counts, commas between; 1, 2, 4, ... all if absent.")
    ] = "",
    precision: Annotated[
        list[str] | None, typer.Option(help="auto, float32 or bfloat16; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=6, help="Of a launch.")] = 30,
    launches: Annotated[int, typer.Option(min=1, help="Processes a setting.")] = 5,
    budget_s: Annotated[
        float, typer.Option(help="Seconds after which no further block of launches begins.")
    ] = 840.0,
    seed: Annotated[int, typer.Option(help="Of data, weights, order and resampling.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Begin anew although --out holds a run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json.")] = False,
) -> None:
    """Time training steps: tokens/s, scaling with threads, share of the matrix rate, loss.

    Ctrl+C keeps what was measured, and --resume goes on.
    """
    from airust.bench.train_bench import TrainBench
    from airust.bench.train_plan import TrainPlan
    from airust.bench.values import read_numbers

    plan = TrainPlan(
        out=out.as_posix(),
        presets=tuple(preset or ("tiny",)),
        threads=read_numbers(threads),
        precisions=tuple(precision or ("auto",)),
        steps=steps,
        launches=launches,
        budget_s=budget_s,
        seed=seed,
    )
    results = with_bar(lambda tell: TrainBench(plan, resume, force, tell).run(), plan.out)
    if as_json:
        print_json(results)
    else:
        _show(results)
    say(f"Every figure and every step is in {out}; summary.md is the page to read.")
    for found in results["presets"]:
        if not found["summary"]:
            reasons = "; ".join(f"{e['label']}: {e['reason']}" for e in found["entries"])
            raise AirustError(f"Nothing was timed for {found['name']}: {reasons}")


def _show(results: dict[str, Any]) -> None:
    from airust.bench.tables import summary_rows
    from airust.bench.train_tables import METRICS
    from airust.cli.bench.table import console, metric_table

    out = console()
    for found in results["presets"]:
        sections = [
            (f"{metric.title} ({metric.unit})", summary_rows(found["summary"][key], metric))
            for key, metric in METRICS.items()
            if key in found["summary"]
        ]
        out.print(metric_table(f"preset {found['name']}", found["baseline"], sections))
    out.print(results["ended"])
