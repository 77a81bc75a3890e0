"""Five programs run your weights: is it still the same model?

Checks of notebook 14.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from airust.lessons.checker import close, require

GUESSED = "Do not guess: a bug that is reproduced gives the suspect's numbers to the fifth digit."


def ex1(answer: Any) -> None:
    """The widest gap at which a choice can flip."""
    hint = "One logprob may be too low by that much, and the other one too high."
    close(answer, 0.008, 1e-9, hint)


def ex2(answer: Any) -> None:
    """Equal, a tie, or another function."""
    top = {5: -0.7, 9: -0.705, 2: -2.0, 4: -5.0}
    cases = (
        (5, 5, 0.0, "equal"),
        (5, 9, 0.003, "tie"),
        (5, 9, 0.002, "different"),
        (5, 2, 0.1, "different"),
        (5, 2, 0.65, "tie"),
        (5, 77, 0.5, "different"),  # not even among the likeliest
    )
    for expected, got, delta, verdict in cases:
        hint = f"Wrong for the tokens {expected} and {got} and a largest |Δ| of {delta}."
        require(answer(dict(top), expected, got, delta) == verdict, hint)


def ex3(answer: Any) -> None:
    """KL divergence with the rest as one token."""
    random = np.random.default_rng(3)
    for size, k in ((4, 2), (50, 5), (50, 49)):
        p, q = (v / v.sum() for v in random.exponential(size=(2, size)))
        listed = {int(i): math.log(p[i]) for i in p.argsort()[::-1][:k]}
        other = {i: math.log(q[i]) for i in listed}
        kept = sum(math.exp(a) * (a - other[i]) for i, a in listed.items())
        rest_p, rest_q = (1 - sum(map(math.exp, each.values())) for each in (listed, other))
        expected = kept + rest_p * math.log(rest_p / rest_q)
        hint = f"Wrong for {k} of {size} tokens: what is not listed counts as one more token."
        close(answer(listed, other), expected, 1e-6, hint)


def ex4(answer: Any) -> None:
    """Positions that a number format can tell apart."""

    def rounded(value: int, bits: int) -> float:
        fraction, exponent = math.frexp(value)
        return math.ldexp(round(fraction * 2**bits), exponent - bits)

    for bits, context in ((8, 256), (8, 8192), (11, 8192), (4, 100), (24, 5000)):
        expected = len({rounded(position, bits) for position in range(context)})
        hint = f"Wrong for {bits} significant bits and positions 0 to {context - 1}."
        close(answer(bits, context), expected, 0, hint)


def ex5(answer: Any) -> None:
    """Who has which bug."""
    from airust.lessons.suspects import lineup

    _, truth = lineup()
    require(isinstance(answer, dict) and set(answer) == set(truth), "Name all six, by letter.")
    known = set(truth.values())
    for name in answer.values():
        require(name in known, f"'{name}' is not on the list; known are {', '.join(known)}.")
    right = sum(answer[letter] == name for letter, name in truth.items())
    require(right == len(truth), f"{right} of {len(truth)} are right. {GUESSED}")


def ex6(answer: Any) -> None:
    """The base that is used instead."""
    from airust.lessons.suspects import WRONG_BASE

    hint = "Try bases until the largest |Δ| from the suspect falls to the level of rounding."
    close(answer, WRONG_BASE, 0.01 * WRONG_BASE, hint)


def ex7(answer: Any) -> None:
    """A test of engines."""
    from airust.lessons.suspects import Suspect, checkpoint, trial

    reference = Suspect(checkpoint())
    honest, guilty = trial()
    for name, suspect in honest.items():
        hint = f"It accuses an engine with {name}: that is rounding, however many digits differ."
        require(not answer(reference.logprobs, suspect.logprobs), hint)
    for name, suspect in guilty.items():
        hint = f"It does not notice {name}: which text, in which pieces, would show it?"
        require(bool(answer(reference.logprobs, suspect.logprobs)), hint)
