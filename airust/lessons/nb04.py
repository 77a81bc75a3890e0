"""How does a machine find the derivative of a program?

Checks of notebook 04.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from airust.lessons.checker import close, digest, require


def ex1(answer: Any) -> None:
    """A derivative on paper."""
    hint = "With u = a b + c, L = u², the chain rule gives 2 u times the derivative of u by a."
    require(digest("nb04.ex1", round(float(answer), 6)) == "26dc00ede3fe", hint)


def ex2(answer: Any) -> None:
    """tanh as an operation with a local derivative."""
    for x in (-1.3, 0.0, 0.4, 2.0):
        v = answer(x)
        y = (v * 1.5).tanh()
        require(y is not None, "tanh should return a new node.")
        close(y.data, math.tanh(1.5 * x), 1e-12, "The value of the new node is math.tanh.")
        (y * 2.0).backward()
        expected = 2 * 1.5 * (1 - math.tanh(1.5 * x) ** 2)
        hint = "The local derivative is 1 - y², where y is the new value, not the old one."
        close(v.grad, expected, 1e-9, hint)


def ex3(answer: Any) -> None:
    """Central differences."""

    def f(xs: list[float]) -> float:
        return xs[0] * math.exp(xs[1]) + math.sin(xs[2]) * xs[0] ** 2

    point = [0.7, -0.4, 1.1]
    expected = [
        math.exp(-0.4) + 2 * 0.7 * math.sin(1.1),
        0.7 * math.exp(-0.4),
        math.cos(1.1) * 0.49,
    ]
    found = answer(f, list(point))
    require(len(found) == 3, "There is one number for each input.")
    for got, wanted in zip(found, expected, strict=True):
        hint = "Use both sides, x + h and x - h, and a step near 1e-5; change one input at a time."
        close(got, wanted, 1e-8, hint)


def ex4(answer: Any) -> None:
    """Gradients through a matrix product."""
    import torch

    rng = np.random.default_rng(4)
    a, b, g = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=(3, 2))
    ta, tb = (torch.tensor(x, requires_grad=True) for x in (a, b))
    (torch.tensor(g) * (ta @ tb) ** 2).sum().backward()
    found_a, found_b = answer(a, b, g)
    for found, expected in ((found_a, ta.grad), (found_b, tb.grad)):
        assert expected is not None
        shape = tuple(expected.shape)
        require(np.shape(found) == shape, f"A gradient has the shape of its matrix, {shape}.")
        hint = "First the adjoint of C = A B, which is 2 G times C elementwise; then the two rules."
        require(np.allclose(found, expected.numpy()), hint)


def ex5(answer: Any) -> None:
    """Backwards through RMSNorm."""
    import torch

    rng = np.random.default_rng(5)
    for size in (3, 8):
        x, y_bar = rng.normal(size=size), rng.normal(size=size)
        t = torch.tensor(x, requires_grad=True)
        (t / (t.square().mean() + 1e-6).sqrt() * torch.tensor(y_bar)).sum().backward()
        assert t.grad is not None
        hint = "One term is y_bar / r; the other comes through r and holds sum(y_bar x) x / (n r³)."
        require(np.allclose(answer(x, y_bar), t.grad.numpy(), atol=1e-9), hint)


def ex6(answer: Any) -> None:
    """Arrows in a graph."""
    for n in (1, 2, 10):
        hint = "Each product has two arrows going in, and so has each addition; sum starts from 0."
        close(answer(n), 4 * n, 0, hint)


def ex7(answer: Any) -> None:
    """Dual numbers."""
    x = 0.6
    hint = "A Dual needs value and slope; the slope of a product is u v' + u' v."
    got = answer(x, 1.0) * answer(x, 1.0)
    close(got.slope, 2 * x, 1e-12, hint)
    got = (answer(x, 1.0) * answer(3.0, 0.0)).exp() + answer(x, 1.0)
    close(got.value, math.exp(1.8) + x, 1e-9, hint)
    close(
        got.slope,
        3 * math.exp(1.8) + 1,
        1e-9,
        "exp: its slope is the new value times the old slope.",
    )
