"""Options and steps that several commands share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airust.types import Message, UserError

if TYPE_CHECKING:
    from airust.engines.base import Engine

# Annotated types, so that an option reads the same in every command.
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        help="Model folder, .gguf file or hub name (OWNER/NAME).",
        show_default=False,
    ),
]
# A server's address is no path: Path would make one slash of its two.
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Model folder, .gguf file or hub name (OWNER/NAME); for engines that ask a server "
        "the model's name there, or the server's address.",
        show_default=False,
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        "-e",
        help="`airust engines` lists them; NAME:OPTION=VALUE,... loads one with options.",
    ),
]
EnginesOption = Annotated[
    str | None,
    typer.Option(
        "--engines",
        help="Names with commas between, with options if you like (torch:dtype=bfloat16); "
        "all installed ones if not given.",
    ),
]
QuestionArgument = Annotated[str, typer.Argument(help='"-" reads it from standard input.')]
TemperatureOption = Annotated[float, typer.Option(help="0 always takes the likeliest token.")]
MaxTokensOption = Annotated[int, typer.Option(help="New tokens at most.")]
SeedOption = Annotated[int | None, typer.Option(help="Makes sampling repeatable.")]
SystemOption = Annotated[str | None, typer.Option(help="Instruction before the first turn.")]

MAKE_A_MODEL = "`airust train --preset tiny --out runs/tiny` makes one"


def existing_model(model: Path | None) -> Path:
    """The model's path.

    Raises:
        UserError: it was not given or is not there; the message tells how to make one.
    """
    if model is None:
        raise UserError(f"Say which model with --model; {MAKE_A_MODEL}.")
    if not model.exists():
        raise UserError(f"There is no model at '{model}'; {MAKE_A_MODEL}.")
    return model


def model_or_hub_name(model: Path | None) -> str | Path:
    """As ``existing_model``, but OWNER/NAME may also be a model at the Hugging Face hub.

    >>> model_or_hub_name(Path("Qwen/Qwen2.5-0.5B-Instruct"))
    'Qwen/Qwen2.5-0.5B-Instruct'

    Raises:
        UserError: it was not given, or is a path where nothing is.
    """
    if model is not None and not model.exists() and not model.is_absolute():
        owner, *name = model.parts
        # Below a folder that is here, and in the one where training puts models, it is a path.
        if len(name) == 1 and owner not in (".", "..", "runs") and not Path(owner).exists():
            return model.as_posix()
    return existing_model(model)


def model_files(engine: str, model: Path | None) -> Path:
    """Folder or GGUF file of a model, for what looks at the files themselves.

    Raises:
        UserError: there is none, or the engine asks a server.
    """
    from airust.engines.model_files import find_model
    from airust.engines.registry import list_engines, parse_spec

    name, _ = parse_spec(engine)
    if any(info.remote for info in list_engines() if info.name == name):
        raise UserError(f"The engine '{name}' asks a server, whose files cannot be looked at.")
    return find_model(model_or_hub_name(model), gguf=True)


def question_text(argument: str) -> str:
    """A question from the command line; "-" reads it from standard input.

    Raises:
        UserError: it is empty, or not UTF-8.
    """
    try:
        read = typer.get_binary_stream("stdin").read
        text = (read().decode("utf-8") if argument == "-" else argument).strip()
    except UnicodeDecodeError as error:
        raise UserError("Standard input is not UTF-8 text.") from error
    if not text:
        raise UserError("The question is empty.")
    return text


def with_system(question: str, system: str | None) -> tuple[Message, ...]:
    """A question, behind a system message if there is one."""
    first = () if system is None else (Message("system", system),)
    return (*first, Message("user", question))


def open_engine(engine: str, model: str | None, **more: object) -> Engine:
    """Load a model into an engine, NAME or NAME:OPTION=VALUE,... The dummy needs no model.

    Raises:
        UserError: no such engine, option or model.
    """
    from rich.console import Console

    from airust.engines.registry import load_engine, parse_spec

    name, options = parse_spec(engine)
    source = _source(name, model)
    with Console(stderr=True, markup=False).status(f"Loading {source} into {name} ..."):
        return load_engine(name, source, **options | more)


def _source(engine: str, model: str | None) -> str | Path:
    """What an engine loads.

    Raises:
        UserError: it was not given, or is a path where nothing is.
    """
    from airust.engines.registry import list_engines

    if engine == "dummy" and model is None:
        return "dummy"
    if any(e.remote for e in list_engines() if e.name == engine):
        if model is None:
            raise UserError("Say with --model which of the server's models, by the name it has.")
        return model
    return model_or_hub_name(None if model is None else Path(model))


def split_names(names: str | None) -> list[str] | None:
    """Comma-separated engines, with or without options.

    >>> split_names("torch, mistralrs:quantize=Q8_0")
    ['torch', 'mistralrs:quantize=Q8_0']
    >>> split_names(None) is None
    True

    Raises:
        UserError: no name is left.
    """
    if names is None:
        return None
    from airust.engines.registry import split_specs

    if not (found := split_specs(names)):
        raise UserError("--engines needs at least one name, for example --engines torch,mistralrs.")
    return found


def print_json(values: object) -> None:
    """JSON on stdout for other programs."""
    typer.echo(json.dumps(values, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """A note to the person, apart from the output."""
    print(text, file=sys.stderr, flush=True)
