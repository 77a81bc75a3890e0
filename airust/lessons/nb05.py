"""You know which way is down; how far do you go?

Checks of notebook 05.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from airust.lessons.checker import close, require


def ex1(answer: Any) -> None:
    """The largest stable learning rate."""
    close(answer, 2 / max(2, 10, 40), 1e-9, "Each direction needs |1 - lr * curvature| < 1.")


def ex2(answer: Any) -> None:
    """Nesterov's momentum against PyTorch's."""
    hint = "First update m with the gradient, then step along g + mu m."
    w = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.SGD([w], lr=0.1, momentum=0.7, nesterov=True)
    _same_steps(answer(0.1, 0.7), theirs, w, hint)


def ex3(answer: Any) -> None:
    """AdamW against PyTorch's."""
    hint = "Adam's step plus lr * decay * x; the decay must not pass through m and v."
    w = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.AdamW([w], lr=0.02, betas=(0.8, 0.95), eps=1e-8, weight_decay=0.3)
    rule = answer(0.02, 0.8, 0.95, 1e-8, 0.3)
    _same_steps(rule, theirs, w, hint, with_x=True)


def ex4(answer: Any) -> None:
    """Adam's first step without its corrections."""
    hint = "m is (1 - beta1) g and the root of v is the root of (1 - beta2), times |g|."
    close(answer, 0.1 / 0.001**0.5, 0.01, hint)


def ex5(answer: Any) -> None:
    """The best of several learning rates."""
    rates = [0.003, 0.01, 0.03, 0.06, 0.1, 0.19, 0.3]
    for curvature, steps in (([1.0, 10.0], 30), ([1.0, 30.0], 10), ([2.0, 2.0], 3)):
        bends = np.array(curvature)

        def loss(rate: float, bends: Any = bends, steps: int = steps) -> float:
            return float(0.5 * (bends * (1 - rate * bends) ** (2 * steps)).sum())

        hint = (
            f"Wrong for curvatures {curvature} and {steps} steps; each step multiplies by 1 - lr λ."
        )
        close(answer(bends, rates, steps), min(rates, key=loss), 1e-12, hint)


def ex6(answer: Any) -> None:
    """The nearest orthogonal matrix."""
    rng = np.random.default_rng(6)
    for shape in ((4, 4), (3, 7), (7, 3)):
        matrix = rng.normal(size=shape)
        found = np.asarray(answer(matrix))
        require(found.shape == shape, f"For a matrix of {shape} the result should be {shape}.")
        u, _, vt = np.linalg.svd(matrix, full_matrices=False)
        hint = "numpy.linalg.svd gives U, S and V^T; full_matrices=False makes them fit."
        require(np.allclose(found, u @ vt, atol=1e-8), hint)


def ex7(answer: Any) -> None:
    """A rule of one's own on a narrow valley."""
    bends = np.logspace(-1, 2, 10)
    x: Any = np.ones(10)
    state: dict[str, Any] = {}
    for n in range(1, 101):
        step = np.asarray(answer(bends * x, state, n))
        require(step.shape == (10,), "The rule returns what is subtracted from x: ten numbers.")
        x = x - step
        require(np.isfinite(x).all(), f"It diverged at step {n}.")
    loss = float(0.5 * (bends * x**2).sum())
    require(loss < 1e-3, f"After 100 steps the loss is {loss:.2g}; it should be below 0.001.")


def _same_steps(
    rule: Callable[..., Any],
    optimizer: torch.optim.Optimizer,
    w: torch.Tensor,
    hint: str,
    with_x: bool = False,
) -> None:
    """Take six steps with both."""
    x, state = w.detach().numpy().copy(), dict[str, Any]()
    rng = np.random.default_rng(7)
    for n in range(1, 7):
        g = 2 * x + rng.normal(size=2)
        w.grad = torch.from_numpy(g.copy())
        optimizer.step()
        x = x - (rule(g, state, n, x) if with_x else rule(g, state, n))
        distance = float(np.abs(x - w.detach().numpy()).max())
        require(distance < 1e-9, f"Step {n} differs from PyTorch's. {hint}")
