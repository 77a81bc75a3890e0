"""Values that a run is asked for: limits, lists in text, and the command that asks for them."""

from __future__ import annotations

import shlex
from typing import Any

from airust.bench.random_model import random_name
from airust.types import UserError


def check_whole(name: str, value: object, least: int, most: int | None) -> None:
    """Refuse a value that is no whole number within limits; None passes.

    Raises:
        UserError: says what the limits are.
    """
    if value is None:
        return
    right = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not right or (most is not None and isinstance(value, int) and value > most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise UserError(f"{name} is {value!r} but must be a whole number, {limits}.")


def command(kind: str, plan: Any, renamed: dict[str, str]) -> str:
    """The shell command of a plan: a field is an option of the same name, a tuple of texts one
    that is repeated, any other tuple has commas between."""
    words = ["airust", "bench", kind]
    for name, known in type(plan).__dataclass_fields__.items():
        value = getattr(plan, name)
        if value == known.default and name != "out":
            continue
        option = "--" + renamed.get(name, name).replace("_", "-")
        if name == "model" and (random := random_name(value)):
            words += ["--random", random]
        elif value is None:
            words += [option, "0"]
        elif isinstance(value, tuple) and value and isinstance(value[0], str):
            words += [word for each in value for word in (option, each)]
        else:
            words += [option, text_of(value)]
    return shlex.join(words)


def text_of(value: object) -> str:
    """A value as an option takes it.

    >>> text_of((1, 4)), text_of(0.5)
    ('1,4', '0.5')
    """
    if isinstance(value, tuple):
        return ",".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value)
    return str(value)


def read_numbers(text: str, kind: type = int) -> tuple[Any, ...]:
    """Numbers with commas between; nothing for an empty text.

    >>> read_numbers("1, 4"), read_numbers("0.5,2", float), read_numbers("")
    ((1, 4), (0.5, 2.0), ())

    Raises:
        UserError: one is not a number.
    """
    try:
        return tuple(sorted(kind(part) for part in text.split(",") if part.strip()))
    except ValueError as error:
        raise UserError(f"'{text}' must be numbers with commas between, as in 1,4,16.") from error
