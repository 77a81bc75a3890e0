"""Why is the second token so much cheaper than the first?

Checks of notebook 11.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from airust.corpus.curriculum import Corpus
from airust.lessons.checker import close, require

GUESSES = 8  # that a drafter may make for a pass
ENOUGH = 2.5  # tokens a pass that it has to reach


def ex1(answer: Any) -> None:
    """Positions without a cache."""
    expected = sum(20 + new for new in range(100))
    close(answer, expected, 0, "The first new token needs 20 positions, the second 21, and so on.")


def ex2(answer: Any) -> None:
    """Top-p."""
    cases = (
        ([0.1, 0.6, 0.3], 0.5, {1}),
        ([0.1, 0.6, 0.3], 0.65, {1, 2}),
        ([0.1, 0.6, 0.3], 1.0, {0, 1, 2}),
        ([0.25, 0.125, 0.5, 0.125], 0.75, {0, 2}),
        ([0.0, 0.5, 0.0, 0.5], 0.9, {1, 3}),
    )
    for given, mass, expected in cases:
        hint = f"Wrong for {given} and P = {mass}: stop as soon as the sum has reached P."
        require(set(map(int, answer(list(given), mass))) == expected, hint)


def ex3(answer: Any) -> None:
    """Positions of a cache with sinks and a window."""
    for length, sinks, room in ((5, 4, 8), (8, 4, 8), (9, 4, 8), (100, 2, 6), (7, 0, 3)):
        expected = [i for i in range(length) if i < sinks or i >= length - (room - sinks)]
        hint = f"Wrong for {length} tokens, {sinks} sinks and room for {room}."
        require(list(map(int, answer(length, sinks, room))) == expected, hint)


def ex4(answer: Any) -> None:
    """The best number of guesses."""

    def speed_up(alpha: float, gamma: int, c: float) -> float:
        tokens: float = sum(alpha**i for i in range(gamma + 1))
        return tokens / (1 + gamma * c)

    for alpha, c in ((0.75, 0.02), (0.9, 0.05), (0.3, 0.4), (0.6, 0.1), (0.99, 0.001)):
        best = max(speed_up(alpha, gamma, c) for gamma in range(51))
        found = int(answer(alpha, c))
        require(0 <= found <= 50, "The number of guesses is between 0 and 50.")
        hint = f"For α = {alpha} and c = {c} another number of guesses is faster."
        close(speed_up(alpha, found, c), best, 1e-9, hint)


def ex5(answer: Any) -> None:
    """What the wrong second rule samples from."""
    random = np.random.default_rng(5)
    for size in (2, 5, 40):
        p, q = (values / values.sum() for values in random.random((2, size)))
        accepted = np.minimum(p, q)
        found = np.asarray([float(value) for value in answer(p.tolist(), q.tolist())])
        require(found.shape == p.shape, "One probability for each token is expected.")
        require(abs(found.sum() - 1) < 1e-6, "The probabilities do not add up to 1.")
        hint = "Accepted tokens have min(p, q); with which probability does the second rule act?"
        require(np.allclose(found, accepted + (1 - accepted.sum()) * p), hint)


def ex6(answer: Any) -> None:
    """Users that fit into memory."""
    from airust.gpt.config import GPTConfig

    config = GPTConfig(vocab_size=10, layers=28, heads=16, kv_heads=8, head_dim=128)
    for memory, tokens, size, page in ((20e9, 1000, 2, 16), (20e9, 1008, 2, 16), (1e9, 1, 4, 256)):
        pages = -(-tokens // page)
        expected = memory // (pages * page * 2 * 28 * 8 * 128 * size)
        hint = f"Wrong for {tokens} tokens in pages of {page}: a begun page counts whole."
        close(answer(config, memory, tokens, size, page), expected, 0, hint)


def ex7(answer: Any) -> None:
    """A drafter that looks into the text itself."""
    passes = tokens = 0
    for text in _texts():
        done = 32
        while done < len(text):
            guesses = [int(i) for i in answer(text[:done], GUESSES)]
            require(len(guesses) <= GUESSES, f"At most {GUESSES} guesses are asked for.")
            accepted = 0
            for guess, truth in zip(guesses, text[done:], strict=False):
                if guess != truth:
                    break
                accepted += 1
            done, passes, tokens = done + accepted + 1, passes + 1, tokens + accepted + 1
    rate = tokens / passes
    hint = "try the longest suffix that has been there before, then shorter ones"
    require(rate >= ENOUGH, f"It reaches {rate:.2f} tokens a pass, {ENOUGH} are asked: {hint}.")


@cache
def _texts() -> tuple[list[int], ...]:
    """Texts, byte by byte, in which the same things are said of one thing after another."""
    facts = [fact for fact in Corpus.load().facts if fact.language == "en"]
    groups = (facts[start : start + 12] for start in (0, 240, 480))
    joined = (" ".join(chain.from_iterable(f.statements[:3] for f in group)) for group in groups)
    return tuple(list(text.encode()[:1200]) for text in joined)
