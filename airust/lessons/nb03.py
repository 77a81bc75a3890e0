"""How well can you guess the next character, and what is a guess worth?

Checks of notebook 03.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

from airust.corpus.curriculum import Corpus
from airust.lessons.checker import Wrong, close, require

START, END = "\x02", "\x03"
ORDERS = 6


def ex1(answer: Any) -> None:
    """Bits of one card of 64."""
    close(answer, math.log2(64), 1e-9, "How many yes-or-no questions find one of 64?")


def ex2(answer: Any) -> None:
    """Perplexity of logprobs in nats."""
    for logprobs in ([math.log(0.25)] * 4, [-1.0, -2.0, -3.0], [0.0]):
        expected = math.exp(-sum(logprobs) / len(logprobs))
        hint = "exp of the mean surprise; surprise is minus the logprob, and nats go with exp."
        close(answer(list(logprobs)), expected, 1e-9, hint)


def ex3(answer: Any) -> None:
    """KL divergence in bits."""
    close(answer([0.5, 0.5], [0.5, 0.5]), 0, 1e-12, "Equal distributions have divergence 0.")
    hint = "Sum q log2(q / p): the truth q weighs, the model p stands below."
    close(answer([0.5, 0.5], [0.9, 0.1]), -0.5 * math.log2(4 * 0.9 * 0.1), 1e-9, hint)
    close(answer([1.0, 0.0], [0.25, 0.75]), 2, 1e-9, "Where q is 0 the term is 0.")
    found = answer([0.5, 0.5], [1.0, 0.0])
    require(found == math.inf, "What the model holds for impossible and happens costs infinity.")


def ex4(answer: Any) -> None:
    """Laplace smoothing."""
    seen = Counter({"a": 3, "b": 1})
    for alpha, size in ((1, 4), (0.5, 10)):
        for x in "abz":
            expected = (seen[x] + alpha) / (4 + alpha * size)
            hint = "Add alpha to the count of every character of the alphabet, seen or not."
            close(answer(x, Counter(seen), alpha, size), expected, 1e-12, hint)
    close(answer("q", Counter(), 1, 8), 1 / 8, 1e-12, "With nothing seen, all are equally likely.")


def ex5(answer: Any) -> None:
    """From perplexity a token to bits a character."""
    close(
        answer, math.log2(20) / 4.5, 0.005, "Bits a token first, then spread over its characters."
    )


def ex6(answer: Any) -> None:
    """A probability distribution or not."""
    letters = list("abcd")
    honest = {"a": 0.7, "b": 0.3, "c": 0.0, "d": 0.0}
    require(
        bool(answer(lambda x: 0.25, letters)) is True, "One quarter for each of four is honest."
    )
    require(bool(answer(honest.get, letters)) is True, "Zeros are allowed in a distribution.")
    require(bool(answer(lambda x: 0.5, letters)) is False, "It lets the colleague's model pass.")
    negative = {"a": 1.5, "b": -0.5, "c": 0.0, "d": 0.0}
    require(bool(answer(negative.get, letters)) is False, "Probabilities are never negative.")
    tenths = [str(n) for n in range(10)]
    hint = "Ten times 0.1 is not exactly 1 in floating point; allow for rounding."
    require(bool(answer(lambda x: 0.1, tenths)) is True, hint)


def ex7(answer: Any) -> None:
    """A better model of the next character."""
    table, test, alphabet = _counts()
    context = "apita"
    total = sum(answer(x, context, table) for x in alphabet)
    require(abs(total - 1) < 1e-6, f"After {context!r} your probabilities add up to {total:.3g}.")
    rare = sum(answer(x, "zqxzq", table) for x in alphabet)
    require(abs(rare - 1) < 1e-6, f"After a context never seen they add up to {rare:.3g}.")
    mine, theirs = _price(answer, table, test), _price(_equal_shares(len(alphabet)), table, test)
    require(mine < theirs, f"It costs {mine:.2f} bits a character; equal shares cost {theirs:.2f}.")


Table = Callable[[int], Any]


@cache
def _counts() -> tuple[Table, list[str], list[str]]:
    corpus = Corpus.load()
    sentences = [s for f in corpus.facts if f.language == "en" for s in f.statements[:2]]
    random.Random(3).shuffle(sentences)
    train = sentences[60:]
    known = set("".join(train))
    test = [text for text in sentences[:60] if set(text) <= known]
    tables: dict[int, dict[str, Counter[str]]] = {}
    for order in range(1, ORDERS + 1):
        tables[order] = defaultdict(Counter)
        for text in train:
            padded = START * (order - 1) + text + END
            for i in range(order - 1, len(padded)):
                tables[order][padded[i - order + 1 : i]][padded[i]] += 1
    return tables.__getitem__, test, [*sorted(known), END]


def _equal_shares(size: int) -> Callable[[str, str, Table], float]:
    def p(x: str, context: str, table: Table) -> float:
        shares = 0.0
        for order in range(1, ORDERS + 1):
            seen = table(order)[context[len(context) - order + 1 :]]
            shares += seen[x] / seen.total() if seen else 1 / size
        return 0.99 * shares / ORDERS + 0.01 / size

    return p


def _price(p: Callable[[str, str, Table], float], table: Table, test: list[str]) -> float:
    bits = []
    for text in test:
        padded = START * (ORDERS - 1) + text + END
        for i in range(ORDERS - 1, len(padded)):
            share = float(p(padded[i], padded[i - ORDERS + 1 : i], table))
            if not 0 < share <= 1 + 1e-9:
                raise Wrong(f"It gives {padded[i]!r} the probability {share:.3g} somewhere.")
            bits.append(-math.log2(share))
    return sum(bits) / len(bits)
