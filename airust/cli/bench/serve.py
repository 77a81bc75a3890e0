"""``airust bench serve``: servers under load, through HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from airust.cli.bench.bar import with_bar
from airust.cli.common import existing_model, print_json, say
from airust.types import AirustError, UserError

EXAMPLE = "airust bench serve --model runs/tiny --serve torch --rates 4,8 --out reports/serve"


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results and raw records.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="Folder of the weights served; verifies the answers."),
    ] = None,
    random: Annotated[
        str | None, typer.Option(help="Random model of a size instead, such as qwen3-100m.")
    ] = None,
    serve: Annotated[
        list[str] | None,
        typer.Option(help="NAME or NAME:OPTION=VALUE,... behind a server of our own; repeat."),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]URL", help="Any server with OpenAI's API; repeat."),
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="An engine in process, without HTTP; repeat.")
    ] = None,
    served_as: Annotated[
        str | None, typer.Option(help="The model's name at --url, if it has several.")
    ] = None,
    traffic: Annotated[
        str, typer.Option(help="fixed, prefix (shared beginnings) or chat (several turns).")
    ] = "fixed",
    concurrency: Annotated[
        str, typer.Option(help="Closed loop: sessions at once, commas between.")
    ] = "1,4,16",
    rates: Annotated[
        str, typer.Option(help="Poisson arrivals: sessions a second, commas between.")
    ] = "",
    requests: Annotated[int, typer.Option(min=1, help="Sessions a point, at least.")] = 32,
    prompt_tokens: Annotated[int, typer.Option(min=16, help="Of a question.")] = 64,
    new_tokens: Annotated[int, typer.Option(min=2, help="Of an answer.")] = 32,
    prefix_tokens: Annotated[int, typer.Option(min=16, help="Of a shared beginning.")] = 128,
    turns: Annotated[int, typer.Option(min=1, help="Of a chat.")] = 4,
    launches: Annotated[int, typer.Option(min=1, help="Blocks: the unit of every interval.")] = 3,
    budget_s: Annotated[
        float, typer.Option(help="Seconds after which no further block begins.")
    ] = 840.0,
    stall_s: Annotated[float, typer.Option(help="Seconds of silence that mean a stall.")] = 30.0,
    ttft_s: Annotated[float, typer.Option(help="Limit of goodput: first token; 0: none.")] = 0.5,
    tpot_s: Annotated[float, typer.Option(help="Limit of goodput: later tokens; 0: none.")] = 0.1,
    e2e_s: Annotated[float, typer.Option(help="Limit of goodput: whole answer; 0: none.")] = 0.0,
    verified: Annotated[
        int, typer.Option(min=0, help="Requests a launch compared with the reference.")
    ] = 64,
    tolerance: Annotated[
        float | None, typer.Option(help="Of a logprob at --url; as in float32 if absent.")
    ] = None,
    cores: Annotated[int | None, typer.Option(help="All that may be used if absent.")] = None,
    guidellm: Annotated[
        str | None,
        typer.Option(help="Path of guidellm's command: measures the first server as well."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of prompts, arrivals, order and resampling.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Begin anew although --out holds a run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json.")] = False,
) -> None:
    """Ask servers as clients do: time to first token, time per token, rates, goodput.

    Every server is measured in turn, the first one twice (A/A); answers are compared with the
    reference where the weights are here. Ctrl+C keeps what was measured, and --resume goes on.
    """
    from airust.bench.random_model import random_model
    from airust.bench.serve_bench import ServeBench
    from airust.bench.serve_plan import ServePlan
    from airust.bench.values import read_numbers

    if model is not None and random is not None:
        raise UserError("--model and --random exclude each other; give one of them.")
    folder = random_model(random) if random else existing_model(model) if model else None
    plan = ServePlan(
        out=out.as_posix(),
        model=None if folder is None else folder.as_posix(),
        serve=tuple(serve or ()),
        url=tuple(url or ()),
        engines=tuple(engine or ()),
        served_as=served_as,
        traffic=traffic,  # type: ignore[arg-type]  # the plan refuses what is none
        concurrency=read_numbers(concurrency),
        rates=read_numbers(rates, float),
        requests=requests,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        prefix_tokens=prefix_tokens,
        turns=turns,
        launches=launches,
        budget_s=budget_s,
        stall_s=stall_s,
        ttft_s=ttft_s or None,
        tpot_s=tpot_s or None,
        e2e_s=e2e_s or None,
        verified=verified,
        tolerance=tolerance,
        cores=cores,
        guidellm=guidellm,
        seed=seed,
    )
    results = with_bar(lambda tell: ServeBench(plan, resume, force, tell).run(), plan.out)
    if as_json:
        print_json(results)
    else:
        _show(results)
    say(f"Every figure and every request is in {out}; summary.md is the page to read.")
    _check(results)


def _show(results: dict[str, Any]) -> None:
    from airust.bench.serve_tables import METRICS, point_title, shown
    from airust.bench.tables import summary_rows
    from airust.cli.bench.table import console, metric_table

    out = console()
    for point in results["points"]:
        found = results["summary"].get(point["key"], {})
        sections = [
            (f"{METRICS[key].title} ({METRICS[key].unit})", summary_rows(found[key], METRICS[key]))
            for key in shown(results)
            if found.get(key)
        ]
        out.print(metric_table(point_title(point), results["baseline"], sections))
    for server in results["servers"]:
        if server["reason"]:
            out.print(f"- {server['label']} has no figures: {server['reason']}")
    for launch in results["launches"]:
        for note in launch["marks"]:
            out.print(f"- {launch['label']}, block {launch['block']}: {note}")
    out.print(results["ended"])


def _check(results: dict[str, Any]) -> None:
    """Fail where no server has figures, or one gave wrong answers."""
    if not results["summary"]:
        reasons = "; ".join(f"{s['label']}: {s['reason']}" for s in results["servers"])
        raise AirustError(f"No server has figures: {reasons}")
