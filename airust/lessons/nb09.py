"""What will a larger model be able to do, before anyone has trained it?

Checks of notebook 09.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from airust.lessons.checker import close, digest, require

# Besiroglu et al. 2024, table 1
LAW = {"alpha": 0.3478, "beta": 0.3658, "A": 482.01, "B": 2085.43, "E": 1.8172}
Floats = NDArray[np.float64]


def sweep() -> tuple[Floats, Floats, Floats]:
    """Parameters, tokens and losses of 42 runs that follow a law, with noise of half a percent."""
    n, d = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(2e3, 1e5, 6), np.geomspace(2e4, 1e6, 7))
    )
    noise = np.random.default_rng(9).normal(0, 0.005, n.size)
    return n, d, _hidden(n, d) * np.exp(noise)


def _hidden(n: Any, d: Any) -> Any:
    return 0.94 + 31.0 * n**-0.43 + 62.0 * d**-0.38


def _life(loss: float, tokens: float) -> tuple[float, float]:
    """The least cost of training and use for a loss, and its parameters, by a fine search."""
    n = np.geomspace(1e8, 1e14, 400_001)
    rest = loss - LAW["E"] - LAW["A"] / n ** LAW["alpha"]
    n, rest = n[rest > 0], rest[rest > 0]
    d = (LAW["B"] / rest) ** (1 / LAW["beta"])
    cost = 6 * n * d + 2 * n * tokens
    best = int(cost.argmin())
    return float(cost[best]), float(n[best])


def ex1(answer: Any) -> None:
    """A factor for twice the size."""
    close(answer, 2**-0.35, 1e-3, "A power law: whatever N is, twice N multiplies it the same way.")


def ex2(answer: Any) -> None:
    """Exponent and floor from three points."""
    for alpha, floor, scale in ((0.5, 1.7, 3.0), (0.08, 0.0, 9.0), (1.3, 0.4, 2.0)):
        x = 100.0 * 2.0 ** np.arange(3)
        found_alpha, found_floor = answer(x, floor + scale * x**-alpha)
        hint = "Differences of neighbours are free of E; what is the ratio of two of them?"
        close(found_alpha, alpha, 1e-4, hint)
        close(found_floor, floor, 1e-3, "The exponent is right; E follows from any two points.")


def ex3(answer: Any) -> None:
    """The optimum at another price of a token."""
    for C, k in ((1e20, 6.0), (1e24, 8.0)):
        n = np.geomspace(1e6, 1e13, 700_001)
        loss = LAW["A"] / n ** LAW["alpha"] + LAW["B"] / (C / (k * n)) ** LAW["beta"]
        best = float(n[loss.argmin()])
        found = answer(C, LAW["alpha"], LAW["beta"], LAW["A"], LAW["B"], k)
        hint = f"For C = {C:g} and k = {k:g} another size has a lower loss."
        close(found / best, 1, 0.01, hint)


def ex4(answer: Any) -> None:
    """The cheapest way to a loss."""
    cost, size = _life(2.1, 0.0)
    found_cost, found_size = answer(2.1, **LAW)
    close(found_cost / cost, 1, 0.01, "It can be had for another price: is the split optimal?")
    close(found_size / size, 1, 0.05, "The cost is right, the parameters are not.")


def ex5(answer: Any) -> None:
    """A straight line where there is a floor."""
    hint = "Draw E + A/x on log-log paper: does it bend up or down, and where is the line then?"
    require(digest("nb09.ex5", answer) == "f49b11481bbc", hint)


def ex6(answer: Any) -> None:
    """The cheapest life."""
    for loss, tokens in ((2.1, 0.0), (2.1, 1e13), (2.3, 1e14)):
        cost, _ = _life(loss, tokens)
        n, d = answer(loss, tokens, **LAW)
        reached = LAW["E"] + LAW["A"] / n ** LAW["alpha"] + LAW["B"] / d ** LAW["beta"]
        require(reached <= loss + 1e-3, f"That model reaches {reached:.3f}, not {loss}.")
        found = 6 * n * d + 2 * n * tokens
        hint = f"For {tokens:g} generated tokens there is a cheaper way to a loss of {loss}."
        require(found <= 1.02 * cost, hint)


def ex7(answer: Any) -> None:
    """An interval for a loss beyond the data."""
    low, high = sorted(float(value) for value in answer)
    require(high - low <= 0.15, f"The interval is {high - low:.2f} wide; at most 0.15 is asked.")
    truth = float(_hidden(1e6, 1e7))
    hint = "The truth is outside: is there a floor in your law, and do both terms have exponents?"
    require(low <= truth <= high, hint)
