"""A benchmark that can be believed: what is measured, in which order, and what it says.

The functions are small, and each of them is where some published benchmark went wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airust.engines.base import Engine
from airust.types import Request


def decode_rate(chunks: Sequence[tuple[float, int]]) -> float:
    """Tokens per second behind the first chunk, from (arrival in seconds, tokens) of each chunk.

    A chunk may hold several tokens. There are at least two chunks.
    """
    ...


def schedule(engines: Sequence[str], rounds: int, seed: int) -> list[list[str]]:
    """For each round all engines in random order; the same seed gives the same schedule."""
    ...


def interval(launches: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float]:
    """A 95% interval of the mean of launches, each of which has several repeats.

    Repeats within a launch share its luck: the launch is what is drawn again (2,000 times, with
    replacement), as the mean of its repeats.
    """
    ...


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times faster, from the rates of the same rounds: the geometric mean of ratios."""
    ...


def verdict(found: tuple[float, float], control: tuple[float, float]) -> str:
    """ "faster", "slower" or "no difference".

    ``found`` is the interval of a ratio, ``control`` that of an engine against itself. There is a
    difference where the two do not overlap.
    """
    ...


@dataclass(frozen=True)
class Measured:
    """One request to one engine."""

    text: str
    first_token_s: float  # from the request to the first piece of text
    total_s: float  # from the request to the end
    tokens: int  # of the answer, as the engine counts them


class WrongOutputError(Exception):
    """The engine does not answer what the reference answers."""


def measure(
    engine: Engine, reference: Engine, request: Request, clock: Callable[[], float]
) -> Measured:
    """Ask both once without the clock, compare their texts, and only then time the engine.

    Raises:
        WrongOutputError: the texts differ, untimed or timed.
    """
    ...
