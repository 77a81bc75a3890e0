"""``airust bench engines``: the same weights and the same tokens in every engine, timed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from airust.cli.bench.bar import with_bar
from airust.cli.common import existing_model, print_json, say
from airust.types import AirustError

EXAMPLE = "airust bench engines --model runs/tiny --random qwen3-100m --out reports/engines"


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results and raw records.")],
    models: Annotated[
        list[Path] | None, typer.Option("--model", "-m", help="Model folder; may be repeated.")
    ] = None,
    random: Annotated[
        list[str] | None,
        typer.Option(help="Random model of a size, such as qwen3-100m; may be repeated."),
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            help="NAME or NAME:OPTION=VALUE, commas between; absent: all installed. "
            "openai:serve=ENGINE asks a server of our own."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The engine that ratios refer to; torch if absent.")
    ] = None,
    streams: Annotated[str, typer.Option(help="Requests at once, commas between.")] = "1,16,64",
    prefill: Annotated[int, typer.Option(min=16, help="Tokens of a long prompt.")] = 512,
    prompt: Annotated[int, typer.Option(min=16, help="Tokens of any other prompt.")] = 24,
    new_tokens: Annotated[int, typer.Option(min=8, help="Tokens of an answer.")] = 64,
    launches: Annotated[int, typer.Option(min=1, help="Processes an engine and model.")] = 5,
    repeats: Annotated[
        int | None,
        typer.Option(min=1, help="Of one stream in a launch, half for more; 6, or 2 if large."),
    ] = None,
    launch_s: Annotated[
        float, typer.Option(help="Seconds after which a launch leaves out repeats.")
    ] = 10.0,
    budget_s: Annotated[
        float, typer.Option(help="Seconds after which no further block of launches begins.")
    ] = 840.0,
    tune_s: Annotated[
        float, typer.Option(help="Seconds for finding the thread counts; 0: none.")
    ] = 150.0,
    cores: Annotated[int | None, typer.Option(help="All that may be used if absent.")] = None,
    text: Annotated[
        Path | None, typer.Option(help="Text for perplexity; held-out statements if absent.")
    ] = None,
    text_tokens: Annotated[int, typer.Option(min=0, help="Of it; 0: none.")] = 256,
    exam_questions: Annotated[
        int, typer.Option(min=0, help="Held-out questions that every engine answers; 0: none.")
    ] = 40,
    seed: Annotated[int, typer.Option(help="Of prompts, order and resampling.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Begin anew although --out holds a run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json.")] = False,
) -> None:
    """Compare engines: decode at several numbers of streams, prefill, memory, load time.

    An engine must first prove that it computes the same function; every timed answer is checked.
    Ctrl+C keeps what was measured, and --resume goes on.
    """
    from airust.bench.engine_bench import EngineBench
    from airust.bench.engine_plan import EnginePlan, read_streams
    from airust.bench.random_model import random_model
    from airust.engines.registry import split_specs

    folders = [existing_model(model) for model in models or ()]
    folders += [random_model(name) for name in random or ()]
    if not folders:
        existing_model(None)
    plan = EnginePlan(
        models=tuple(folder.as_posix() for folder in folders),
        out=out.as_posix(),
        engines=tuple(split_specs(engines or "")),
        baseline=baseline,
        streams=read_streams(streams),
        prefill_tokens=prefill,
        prompt_tokens=prompt,
        new_tokens=new_tokens,
        launches=launches,
        repeats=repeats,
        launch_s=launch_s,
        budget_s=budget_s,
        tune_s=tune_s,
        cores=cores,
        text=None if text is None else text.as_posix(),
        text_tokens=text_tokens,
        exam_questions=exam_questions,
        seed=seed,
    )
    results = with_bar(lambda tell: EngineBench(plan, resume, force, tell).run(), plan.out)
    if as_json:
        print_json(results)
    else:
        _show(results)
    say(f"Every figure and every launch is in {out}; summary.md is the page to read.")
    _check(results)


def _show(results: dict[str, Any]) -> None:
    from airust.bench.engine_tables import metric_title, notes, shown_metrics
    from airust.bench.tables import metric_rows
    from airust.cli.bench.table import console, metric_table

    out = console()
    for model in results["models"]:
        size = f"{model['model']['parameters'] / 1e6:.1f} M parameters"
        sections = [
            (f"{metric_title(model, metric)} ({metric.unit})", metric_rows(model, metric.key))
            for metric in shown_metrics(model)
        ]
        title = f"{model['model']['name']}, {size}"
        out.print(metric_table(title, model["baseline"], sections, "of ceiling"))
        for note in notes(model):
            out.print(f"- {note}")
        for entry in model["entries"]:
            if entry["reason"]:
                out.print(f"- {entry['label']} has no figures: {entry['reason']}")
    out.print(results["ended"])


def _check(results: dict[str, Any]) -> None:
    """Fail where a model has no figures at all."""
    for model in results["models"]:
        if not any(found["engines"] for found in model["summary"].values()):
            reasons = "; ".join(f"{e['label']}: {e['reason']}" for e in model["entries"])
            raise AirustError(f"No engine has figures for {model['model']['name']}: {reasons}")
