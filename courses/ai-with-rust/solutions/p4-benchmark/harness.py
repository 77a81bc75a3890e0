"""A benchmark that can be believed: what is measured, in which order, and what it says.

The functions are small, and each of them is where some published benchmark went wrong.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from airust.engines.base import Engine
from airust.types import DoneEvent, ErrorEvent, Event, Request, TokenEvent

DRAWS = 2_000


def decode_rate(chunks: Sequence[tuple[float, int]]) -> float:
    """Tokens per second behind the first chunk, from (arrival in seconds, tokens) of each chunk.

    A chunk may hold several tokens. There are at least two chunks.
    """
    return sum(tokens for _, tokens in chunks[1:]) / (chunks[-1][0] - chunks[0][0])


def schedule(engines: Sequence[str], rounds: int, seed: int) -> list[list[str]]:
    """For each round all engines in random order; the same seed gives the same schedule."""
    dice = random.Random(seed)
    return [dice.sample(list(engines), len(engines)) for _ in range(rounds)]


def interval(launches: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float]:
    """A 95% interval of the mean of launches, each of which has several repeats.

    Repeats within a launch share its luck: the launch is what is drawn again (2,000 times, with
    replacement), as the mean of its repeats.
    """
    means = np.array([fmean(repeats) for repeats in launches])
    drawn = np.random.default_rng(seed).integers(0, len(means), (DRAWS, len(means)))
    low, high = np.percentile(means[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times faster, from the rates of the same rounds: the geometric mean of ratios."""
    return math.exp(fmean(math.log(a / b) for a, b in zip(ours, theirs, strict=True)))


def verdict(found: tuple[float, float], control: tuple[float, float]) -> str:
    """ "faster", "slower" or "no difference".

    ``found`` is the interval of a ratio, ``control`` that of an engine against itself. There is a
    difference where the two do not overlap.
    """
    if found[0] > control[1]:
        return "faster"
    return "slower" if found[1] < control[0] else "no difference"


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
    wanted = reference.generate(request).text
    _compare(engine.generate(request).text, wanted)
    measured = _timed(engine, request, clock)
    _compare(measured.text, wanted)
    return measured


def _compare(text: str, wanted: str) -> None:
    if text != wanted:
        raise WrongOutputError(f"{text!r} instead of {wanted!r}")


def _timed(engine: Engine, request: Request, clock: Callable[[], float]) -> Measured:
    # submit and not generate: the moments are taken in the engine's own thread
    import threading

    arrivals: list[tuple[float, Event]] = []
    ended = threading.Event()

    def on_event(event: Event) -> None:
        arrivals.append((clock(), event))
        if isinstance(event, DoneEvent | ErrorEvent):
            ended.set()

    begin = clock()
    engine.submit(request, on_event)
    ended.wait()
    pieces = [(at, e.text) for at, e in arrivals if isinstance(e, TokenEvent) and e.text]
    end, last = arrivals[-1]
    if not isinstance(last, DoneEvent) or not pieces:
        raise WrongOutputError(f"the engine ended with {last}")
    text = "".join(text for _, text in pieces)
    tokens = last.usage.completion_tokens
    return Measured(text, pieces[0][0] - begin, end - begin, tokens)
