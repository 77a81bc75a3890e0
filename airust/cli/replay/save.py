"""``airust replay save``: ask a question and keep the answer in a capsule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airust.cli.common import (
    EngineOption,
    MaxTokensOption,
    ModelOption,
    QuestionArgument,
    SeedOption,
    SystemOption,
    TemperatureOption,
    model_files,
    open_engine,
    question_text,
    say,
    with_system,
)
from airust.types import SamplingParams, UserError

EXAMPLE = 'airust replay save --model runs/tiny "What is rain?" --out capsule.json'


def run(
    question: QuestionArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The JSON file to write.")],
    model: ModelOption = None,
    engine: EngineOption = "torch",
    temperature: TemperatureOption = 0.0,
    top_k: Annotated[int, typer.Option(help="Keep the k likeliest tokens; 0 keeps all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Keep the likeliest tokens up to this mass.")] = 1.0,
    min_p: Annotated[float, typer.Option(help="Drop tokens below this share of the best.")] = 0.0,
    max_tokens: MaxTokensOption = 256,
    seed: SeedOption = None,
    system: SystemOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Ask a model one question and write a replay capsule; the answer goes to stdout.

    Above temperature 0 a seed is chosen and kept, if none is given.
    """
    messages = with_system(question_text(question), system)
    params = SamplingParams(
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        seed=seed,
    )
    if out.exists() and not force:
        raise UserError(f"'{out}' is already there; --force overwrites it.")
    path = model_files(engine, model)
    with open_engine(engine, str(path)) as loaded:
        from airust.engines.capsule import save_capsule
        from airust.engines.replay import record

        capsule = record(loaded, path, messages, params, engine)
    save_capsule(capsule, out)
    typer.echo(capsule.recording.text)
    say(f"Wrote {out}: {len(capsule.recording.tokens)} tokens of {engine}.")
