"""``airust ask``: one question, the answer alone on stdout."""

from __future__ import annotations

import typer

from airust.cli.common import (
    EngineOption,
    MaxTokensOption,
    QuestionArgument,
    SeedOption,
    SourceOption,
    SystemOption,
    TemperatureOption,
    open_engine,
    question_text,
    say,
    with_system,
)
from airust.types import DoneEvent, Request, SamplingParams, TokenEvent

EXAMPLE = 'airust ask --model runs/tiny "What is the capital of France?"'


def run(
    question: QuestionArgument,
    model: SourceOption = None,
    engine: EngineOption = "torch",
    temperature: TemperatureOption = 0.0,
    max_tokens: MaxTokensOption = 256,
    seed: SeedOption = None,
    system: SystemOption = None,
) -> None:
    """Ask a model one question; the answer alone goes to stdout."""
    messages = with_system(question_text(question), system)
    params = SamplingParams(temperature=temperature, max_tokens=max_tokens, seed=seed)
    with open_engine(engine, model) as loaded:
        for event in loaded.events(Request(messages=messages, params=params)):
            if isinstance(event, TokenEvent):
                typer.echo(event.text, nl=False)
            elif isinstance(event, DoneEvent):
                typer.echo()
                if event.finish_reason == "length":
                    say(f"(cut after {event.usage.completion_tokens} tokens)")
