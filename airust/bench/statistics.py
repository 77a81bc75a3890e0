"""Intervals for what a benchmark measured.

The unit of resampling is the **process launch**: memory layout, thread placement and the host's
phase are drawn once a launch, so that repeats inside one launch agree with each other better than
with the next launch. Two levels therefore:

* a launch's value is the median of its repeats;
* an engine's estimate is the geometric mean of its launches' values.

The interval is a hierarchical bootstrap on the logarithms: launches are drawn with replacement,
each with its repeats kept whole, which mirrors the variance of the estimate (Davison and Hinkley
1997, section 3.8). Percentiles of so few launches would be far too narrow (with three, the widest
possible percentile interval covers the truth 75% of the time), so that the bootstrap gives the
standard error alone and Student's t the width:

    log estimate +- t(0.975, L - 1) * s,    s = bootstrap standard error * sqrt(L / (L - 1))

A ratio is taken **block by block** (launch k of one engine against launch k of the other, run
close in time), and the logarithms of these L ratios go through the same bootstrap. Two runs at
other times have no blocks in common; their change adds both variances, with the degrees of freedom
of Welch (1947).

>>> summarise([[9.0, 10.0, 30.0], [10.0, 10.0]]).estimate
10.0
>>> ratio([[20.0], [20.0]], [[10.0], [10.0]]).estimate
2.0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000

Samples = Sequence[Sequence[float]]  # the repeats of each launch, in the order of the blocks
Verdict = Literal["higher", "lower", "no difference", "undecided", "not known"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95% interval; one launch alone has none."""

    estimate: float
    low: float | None
    high: float | None
    launches: int  # L: process launches behind it

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def warm_up(seconds: Sequence[float]) -> int:
    """How many repeats at the beginning of a launch still warmed something up.

    Those that lie above the upper fence of the rest (third quartile and 1.5 interquartile ranges,
    Tukey 1977), one after another from the first, at most half of all. Slow repeats later are no
    warm-up and stay.

    >>> warm_up([9.0, 4.0, 1.0, 1.1, 1.0, 1.1, 1.0]), warm_up([1.0, 1.1, 9.0, 1.0])
    (2, 0)
    """
    for count in range(len(seconds) // 2):
        first, third = np.quantile(seconds[count + 1 :], (0.25, 0.75))
        # Equal repeats have no spread; a hundredth is none either.
        if seconds[count] <= third + max(1.5 * (third - first), 0.01 * third):
            return count
    return len(seconds) // 2


def launch_value(repeats: Sequence[float]) -> float:
    """The median of one launch's repeats: one slow repeat does not move it.

    Raises:
        ValueError: there is none, or one is not above zero.
    """
    if not repeats or min(repeats) <= 0 or not all(map(math.isfinite, repeats)):
        raise ValueError(f"a launch needs repeats above zero, not {list(repeats)}")
    return float(np.median(repeats))


def summarise(samples: Samples, seed: int = 0) -> Interval:
    """Estimate and interval of one engine from the repeats of each of its launches."""
    return _interval([math.log(launch_value(launch)) for launch in samples], seed)


def ratio(numerator: Samples, denominator: Samples, seed: int = 0) -> Interval:
    """Numerator over denominator, paired by block.

    Raises:
        ValueError: the two do not have the same number of launches.
    """
    pairs = zip(numerator, denominator, strict=True)
    return _interval([math.log(launch_value(a) / launch_value(b)) for a, b in pairs], seed)


def change(before: Samples, after: Samples, seed: int = 0) -> Interval:
    """After over before, of two runs that share no blocks."""
    old, new = ([math.log(launch_value(x)) for x in samples] for samples in (before, after))
    centre, few = _centre(new) - _centre(old), min(len(old), len(new))
    if few < 2:
        return _bounded(centre, None, few)
    errors = [_error(logs, seed) for logs in (old, new)]
    total = sum(error**2 for error in errors)
    parts = sum(e**4 / (len(x) - 1) for e, x in zip(errors, (old, new), strict=True))
    degrees = total**2 / parts if parts else few - 1
    return _bounded(centre, student_t(degrees) * math.sqrt(total), few)


def _interval(logs: list[float], seed: int) -> Interval:
    if not logs:
        raise ValueError("an interval needs at least one launch")
    count = len(logs)
    width = student_t(count - 1) * _error(logs, seed) if count > 1 else None
    return _bounded(_centre(logs), width, count)


def _centre(logs: list[float]) -> float:
    return float(np.mean(logs))


def _error(logs: list[float], seed: int) -> float:
    """The standard error of the mean, by bootstrap."""
    count = len(logs)
    draws = np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))
    return float(np.asarray(logs)[draws].mean(axis=1).std()) * math.sqrt(count / (count - 1))


def _bounded(centre: float, width: float | None, launches: int) -> Interval:
    # Rounding noise of log and exp: 10.000000000000002 reads as a difference where there is none.
    estimate = float(f"{math.exp(centre):.12g}")
    if width is None:
        return Interval(estimate, None, None, launches)
    return Interval(estimate, math.exp(centre - width), math.exp(centre + width), launches)


def aa_band(first: Samples, second: Samples) -> float:
    """How far the same engine was from itself: the largest factor (at least 1) in any block."""
    pairs = zip(first, second, strict=True)
    return math.exp(max(abs(math.log(launch_value(a) / launch_value(b))) for a, b in pairs))


def verdict(interval: Interval, band: float = 1.0) -> Verdict:
    """What a ratio says, given the A/A band.

    "no difference" inside the band; "undecided" where the interval holds 1 all the same, which
    more launches might settle; "not known" without an interval.
    """
    if 1 / band <= interval.estimate <= band:
        return "no difference"
    if interval.low is None or interval.high is None:
        return "not known"
    if interval.low <= 1 <= interval.high:
        return "undecided"
    return "higher" if interval.low > 1 else "lower"


@cache
def student_t(degrees: float, confidence: float = CONFIDENCE) -> float:
    """The two-sided quantile of Student's t distribution, by bisection on its integral.

    >>> round(student_t(2), 3)
    4.303
    """
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _mass(middle, degrees) < confidence else (low, middle)
    return (low + high) / 2


def _mass(t: float, degrees: float) -> float:
    """P(-t < T < t): the substitution x = sqrt(n) tan(a) turns the density into cos(a)^(n-1)."""
    angles = np.linspace(0, math.atan(t / math.sqrt(degrees)), 2001)
    area = float(np.trapezoid(np.cos(angles) ** (degrees - 1), angles))
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))
    return 2 * scale * area / math.sqrt(math.pi)
