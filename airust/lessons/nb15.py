"""Is it really faster, or did you only want it to be?

Checks of notebook 15.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from airust.bench.statistics import student_t
from airust.lessons.checker import close, require

MACHINES = 400  # simulated benchmarks behind the last exercise
LEAST_COVERAGE = 0.91
WIDEST = 1.5  # upper end over lower, on average


def ex1(answer: Any) -> None:
    """Independent values in a benchmark."""
    close(answer, 3, 0, "Which values are independent of each other: repeats or launches?")


def ex2(answer: Any) -> None:
    """A paired ratio."""
    close(answer([[4.0, 2.0, 90.0]], [[2.0]]), 2.0, 1e-9, "A launch's value is its median.")
    p, q = [[2.0], [10.0, 12.0, 11.0], [3.0, 5.0]], [[1.0], [44.0], [1.0]]
    close(
        answer(p, q),
        2 ** (1 / 3),
        1e-9,
        "The geometric mean: the exponential of the mean logarithm.",
    )


def ex3(answer: Any) -> None:
    """The most that three launches can cover."""
    hint = "It misses only if all three fall on the same side of the median: how likely is that?"
    close(answer, 0.75, 1e-6, hint)


def ex4(answer: Any) -> None:
    """Repeats that are worth their time."""
    for launch_s, repeat_s, between, within in ((5, 1, 0.05, 0.1), (60, 0.5, 0.01, 0.08)):
        expected = math.sqrt(launch_s / repeat_s) * within / between
        hint = "Minimise (between² + within²/R) (launch + R · repeat): what remains of it with R?"
        found = answer(float(launch_s), float(repeat_s), between, within)
        close(float(found) / expected, 1, 1e-3, hint)


def ex5(answer: Any) -> None:
    """A mean of ratios that does not contradict itself."""
    for ratios in ([0.5, 2.0], [1.0, 3.0, 9.0], [1.5]):
        found = answer(list(ratios))
        back = answer([1 / value for value in ratios])
        hint = "Turn all ratios round: the mean should be turned round, too."
        close(float(found) * float(back), 1, 1e-9, hint)
        close(answer([2 * r for r in ratios]), 2 * float(found), 1e-9, "Twice all is twice.")
        close(found, math.prod(ratios) ** (1 / len(ratios)), 1e-9, "That is not a mean.")


def ex6(answer: Any) -> None:
    """Blocks that a difference takes."""
    for factor, spread in ((1.05, 0.06), (0.9, 0.06), (1.02, 0.05), (2.0, 0.05), (0.97, 0.03)):
        least = 2
        while student_t(least - 1) * spread / math.sqrt(least) >= abs(math.log(factor)):
            least += 1
        hint = f"Wrong for a factor of {factor} and a spread of {spread}."
        close(answer(factor, spread), least, 0, hint)


def ex7(answer: Any) -> None:
    """An interval that keeps its promise."""
    random = np.random.default_rng(15)
    held, widths = 0, []
    for _ in range(MACHINES):
        truth = float(random.uniform(5, 500))
        shape = (4, 7)
        visits = random.exponential(1.5, shape) * (random.random(shape) < 0.1)
        logs = random.normal(0, 0.05, (4, 1)) + random.normal(0, 0.01, shape) + visits
        low, high = answer((truth * np.exp(logs)).tolist())
        require(0 < low < high, "An interval has a lower end above zero and a higher one.")
        held += low <= truth <= high
        widths.append(math.log(high / low))
    share, width = held / MACHINES, math.exp(float(np.mean(widths)))
    require(share >= LEAST_COVERAGE, f"It holds the truth in {share:.0%} of the benchmarks.")
    require(width <= WIDEST, f"It keeps its promise, but high / low is {width:.2f} on average.")
