"""How much of a matrix do you really need?

Checks of notebook 02.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np

from airust.corpus.curriculum import Corpus
from airust.lessons.checker import close, require

NEIGHBOURS = 5
COLUMNS = 3


def ex1(answer: Any) -> None:
    """Numbers of a decomposition."""
    hint = "20 terms, each with a column of U, a singular value and a column of V."
    close(answer, 20 * (300 + 200 + 1), 0, hint)


def ex2(answer: Any) -> None:
    """Polynomials by least squares."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 2, 30)
    for degree in (0, 1, 3):
        y = np.sin(x) + rng.normal(0, 0.1, 30)
        expected = np.polynomial.polynomial.polyfit(x, y, degree)
        found = np.asarray(answer(x, y, degree), dtype=float)
        require(found.shape == (degree + 1,), f"Degree {degree} has {degree + 1} coefficients.")
        hint = "Columns 1, x, x², ...; then numpy.linalg.lstsq, QR or the normal equations."
        require(np.allclose(found, expected, atol=1e-6), hint)


def ex3(answer: Any) -> None:
    """The best approximation of a rank."""
    rng = np.random.default_rng(3)
    for shape, k in (((6, 4), 2), ((3, 8), 1), ((5, 5), 5)):
        matrix = rng.normal(size=shape)
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        found = np.asarray(answer(matrix.copy(), k))
        require(found.shape == shape, "The approximation has the shape of the matrix.")
        hint = f"For k = {k} keep the first {k} singular values and their vectors."
        require(np.allclose(found, (u[:, :k] * s[:k]) @ vt[:k], atol=1e-8), hint)


def ex4(answer: Any) -> None:
    """A rank for a tolerance."""
    values = np.array([4.0, 3.0, 2.0, 1.0, 0.1])
    lost = [np.sqrt((values[k:] ** 2).sum() / (values**2).sum()) for k in range(len(values) + 1)]
    for tolerance in (1.0, 0.7, 0.41, 0.2, 0.01, 0.0):
        expected = next(k for k, error in enumerate(lost) if error <= tolerance)
        hint = f"Wrong for {tolerance}: squares add up, and the root comes last."
        close(answer(values.copy(), tolerance), expected, 0, hint)


def ex5(answer: Any) -> None:
    """Where a decomposition saves memory."""
    for m, n in ((100, 100), (12_288, 12_288), (10, 1000), (2, 2)):
        expected = (m * n - 1) // (m + n + 1)
        hint = f"Wrong for {m} x {n}: k (m + n + 1) < m n, and k is whole."
        close(answer(m, n), expected, 0, hint)


def ex6(answer: Any) -> None:
    """Power iteration."""
    rng = np.random.default_rng(6)
    for shape in ((8, 8), (5, 20), (20, 5), (1, 6)):
        left = np.linalg.qr(rng.normal(size=(shape[0], min(shape))))[0]
        right = np.linalg.qr(rng.normal(size=(shape[1], min(shape))))[0]
        matrix = (left * 3 * 0.7 ** np.arange(min(shape))) @ right.T
        hint = "Multiply by A^T A and normalise until nothing changes; then the length of A v."
        close(answer(matrix), 3.0, 1e-5, hint)


def ex7(answer: Any) -> None:
    """Word vectors whose neighbours are of their kind."""
    counts, kinds = _cooccurrence()
    raw = np.linalg.svd(counts)
    theirs = _purity(raw[0][:, :COLUMNS] * raw[1][:COLUMNS], kinds)
    found = np.asarray(answer(counts.copy()), dtype=float)
    require(found.ndim == 2 and len(found) == len(counts), "One row for each word is expected.")
    require(found.shape[1] <= COLUMNS, f"{found.shape[1]} columns are more than {COLUMNS}.")
    mine = _purity(found, kinds)
    text = f"{mine:.1%} of the neighbours are of the same kind; raw counts reach {theirs:.1%}."
    require(mine > theirs + 0.02, f"{text} Weigh the counts: chance, and square roots.")


@cache
def _cooccurrence() -> tuple[Any, dict[int, str]]:
    """Counts within four words, and the kinds of those words that are an entity's name."""
    corpus = Corpus.load()
    facts = [f for f in corpus.facts if f.language == "en"]
    texts = [text for fact in facts for text in fact.statements[2:6]]
    tokens = [re.findall(r"[a-z]+", text.lower()) for text in texts]
    words = sorted({word for text in tokens for word in text})
    number = {word: n for n, word in enumerate(words)}
    counts = np.zeros((len(words), len(words)))
    for text in tokens:
        ids = [number[word] for word in text]
        for i, first in enumerate(ids):
            for second in ids[max(0, i - 4) : i]:
                counts[first, second] += 1
                counts[second, first] += 1
    names = {fact.name.lower(): fact.entity.kind for fact in facts}
    common = [n for n in range(len(words)) if counts[n].sum() >= 40]
    kinds = {at: names[words[n]] for at, n in enumerate(common) if words[n] in names}
    return counts[np.ix_(common, common)], kinds


def _purity(vectors: Any, kinds: dict[int, str]) -> float:
    """Share of the nearest entities that are of the same kind."""
    ids = np.array(sorted(kinds))
    rows = vectors[ids]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    near = np.argsort(-(rows @ rows.T - 2 * np.eye(len(ids))), axis=1)[:, :NEIGHBOURS]
    labels = np.array([kinds[n] for n in ids])
    return float((labels[near] == labels[:, None]).mean())
