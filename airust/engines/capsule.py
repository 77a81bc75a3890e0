"""The replay capsule: one answer in a JSON file, with all that it takes to ask for it again.

Fingerprints of the weights and of the vocabulary, the engine and its version, the prompt's token
ids, the sampling parameters, and every token of the answer with its logprob and its likeliest
alternatives. ``capsule.schema.json`` beside this file describes the form.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from airust import __version__
from airust.engines.worker import first_line
from airust.files import write_text
from airust.types import (
    FinishReason,
    Message,
    SamplingParams,
    TokenEvent,
    TopLogprob,
    UserError,
)

FORMAT, VERSION = "airust-replay", 1
LONGEST = 200  # characters of a reason that are shown


@dataclass(frozen=True, slots=True)
class Recording:
    """What one engine answered, token by token."""

    engine: str  # NAME or NAME:OPTION=VALUE,...
    engine_version: str | None  # of its library
    settings: dict[str, object]  # what it says about itself
    sampler: str
    text: str
    finish_reason: FinishReason
    tokens: tuple[TokenEvent, ...]  # without the token that ends the text
    end_top: tuple[TopLogprob, ...]  # the likeliest tokens where the answer ended by itself

    def top(self, position: int) -> tuple[TopLogprob, ...]:
        """The likeliest tokens at a position, the end included."""
        return self.tokens[position].top if position < len(self.tokens) else self.end_top

    def token(self, position: int) -> int | None:
        """The token id at a position; at the end the likeliest one, where it is known."""
        if position < len(self.tokens):
            return self.tokens[position].token_id
        return self.end_top[0].token_id if self.end_top else None


@dataclass(frozen=True, slots=True)
class Capsule:
    """One answer and all that it takes to ask for it again."""

    model: str  # name of the folder or file, for people
    weights_sha256: str
    vocabulary_sha256: str
    messages: tuple[Message, ...]  # what was asked, for people; the prompt_ids are what counts
    prompt_ids: tuple[int, ...]
    params: SamplingParams
    recording: Recording
    airust: str = __version__


def save_capsule(capsule: Capsule, path: Path) -> None:
    """Write a capsule as JSON.

    Raises:
        UserError: the file cannot be written.
    """
    values = {"format": FORMAT, "version": VERSION, **asdict(capsule)}
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def load_capsule(path: Path) -> Capsule:
    """Read a capsule.

    Raises:
        UserError: it is not one, or a field is wrong; the message names the field.
    """
    values = _read(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"'{path}' is not a replay capsule: its field 'format' is not '{FORMAT}'.")
    if values.get("version") != VERSION:
        raise UserError(
            f"'{path}' is a capsule of version {values.get('version')!r}, but this airust "
            f"({__version__}) reads version {VERSION}."
        )
    _validate(path, values)
    try:
        return _capsule(values)
    except UserError as error:
        raise UserError(f"The field 'params' of '{path}' is wrong: {error}") from error


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except ValueError as error:  # not JSON, not UTF-8
        raise UserError(f"'{path}' is not valid JSON: {error}.") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def schema() -> dict[str, Any]:
    """The JSON schema of a capsule."""
    text = files("airust.engines").joinpath("capsule.schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _validate(path: Path, values: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema()).iter_errors(values))
    if error is not None:
        field = error.json_path.removeprefix("$").removeprefix(".") or "the whole"
        what = first_line(error)[:LONGEST]
        raise UserError(f"The field '{field}' of '{path}' is wrong: {what}.")


def _capsule(values: dict[str, Any]) -> Capsule:
    recording = values["recording"]
    tokens = [TokenEvent(**(t | {"top": _tops(t["top"])})) for t in recording["tokens"]]
    made = {"tokens": tuple(tokens), "end_top": _tops(recording["end_top"])}
    lists: dict[str, Callable[[Any], Any]] = {
        "stop": tuple,
        "logit_bias": lambda pairs: tuple((i, bias) for i, bias in pairs),
    }
    params: dict[str, Any] = {
        n: lists[n](v) if n in lists else v for n, v in values["params"].items()
    }
    rest = {f.name for f in fields(Capsule)} - {"messages", "prompt_ids", "params", "recording"}
    return Capsule(
        messages=tuple(Message(**message) for message in values["messages"]),
        prompt_ids=tuple(values["prompt_ids"]),
        params=SamplingParams(**params),
        recording=Recording(**(recording | made)),
        **{name: values[name] for name in rest},
    )


def _tops(values: list[dict[str, Any]]) -> tuple[TopLogprob, ...]:
    return tuple(TopLogprob(**value) for value in values)
