"""``airust ask``: one question, the answer alone on stdout."""

from __future__ import annotations

from typing import Annotated

import typer

from airust.cli.common import (
    EngineOption,
    MaxTokensOption,
    SeedOption,
    SourceOption,
    SystemOption,
    TemperatureOption,
    open_engine,
    say,
)
from airust.types import DoneEvent, Message, Request, SamplingParams, TokenEvent, UserError

EXAMPLE = 'airust ask --model runs/tiny "What is the capital of France?"'


def run(
    question: Annotated[str, typer.Argument(help='"-" reads it from standard input.')],
    model: SourceOption = None,
    engine: EngineOption = "torch",
    temperature: TemperatureOption = 0.0,
    max_tokens: MaxTokensOption = 256,
    seed: SeedOption = None,
    system: SystemOption = None,
) -> None:
    """Ask a model one question; the answer alone goes to stdout."""
    text = (_read_stdin() if question == "-" else question).strip()
    if not text:
        raise UserError("The question is empty.")
    params = SamplingParams(temperature=temperature, max_tokens=max_tokens, seed=seed)
    turns = [Message("user", text)]
    if system is not None:
        turns.insert(0, Message("system", system))
    with open_engine(engine, model) as loaded:
        for event in loaded.events(Request(messages=tuple(turns), params=params)):
            if isinstance(event, TokenEvent):
                typer.echo(event.text, nl=False)
            elif isinstance(event, DoneEvent):
                typer.echo()
                if event.finish_reason == "length":
                    say(f"(cut after {event.usage.completion_tokens} tokens)")


def _read_stdin() -> str:
    try:
        return typer.get_binary_stream("stdin").read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError("Standard input is not UTF-8 text.") from error
