"""Intervals with known answers, and how often they cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from airust.bench.statistics import (
    Interval,
    aa_band,
    change,
    launch_value,
    ratio,
    student_t,
    summarise,
    verdict,
    warm_up,
)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042)]
)
def test_student_t_equals_the_printed_table(degrees: int, quantile: float) -> None:
    assert student_t(degrees) == pytest.approx(quantile, abs=5e-4)


def test_a_launch_is_the_median_of_its_repeats() -> None:
    assert launch_value([3.0, 100.0, 2.0]) == 3.0
    assert launch_value([2.0, 4.0]) == 3.0


@pytest.mark.parametrize("repeats", [[], [0.0], [1.0, -1.0], [math.nan], [math.inf]])
def test_a_launch_without_a_positive_value_is_refused(repeats: list[float]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        launch_value(repeats)


def test_the_estimate_is_the_geometric_mean_of_the_launches() -> None:
    assert summarise([[1.0], [100.0]]).estimate == pytest.approx(10.0)


def test_the_interval_is_the_t_interval_of_the_logarithms() -> None:
    logs = [1.0, 1.1, 1.3, 0.9]
    found = summarise([[math.exp(x)] for x in logs])
    width = student_t(3) * np.std(logs, ddof=1) / 2  # the analytic standard error of a mean of 4
    assert found.low is not None and found.high is not None
    assert math.log(found.low) == pytest.approx(np.mean(logs) - width, rel=0.03)
    assert math.log(found.high) == pytest.approx(np.mean(logs) + width, rel=0.03)


def test_the_same_launches_give_the_same_interval() -> None:
    samples = [[1.0, 1.1], [1.2], [0.9]]
    assert summarise(samples, seed=3) == summarise(samples, seed=3)
    assert summarise(samples, seed=3).low != summarise(samples, seed=4).low


def test_one_launch_has_no_interval() -> None:
    assert summarise([[5.0]]) == Interval(5.0, None, None, 1)


def test_equal_launches_have_an_interval_of_width_zero() -> None:
    found = summarise([[5.0], [5.0], [5.0]])
    assert found.estimate == 5.0
    assert (found.low, found.high) == pytest.approx((5.0, 5.0))


def test_a_ratio_is_paired_by_block() -> None:
    """A phase in which the host is three times as slow moves both engines and not their ratio."""
    found = ratio([[2.0], [6.0], [2.0]], [[1.0], [3.0], [1.0]])
    assert found.estimate == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx((2.0, 2.0))
    with pytest.raises(ValueError, match="zip"):
        ratio([[1.0]], [[1.0], [2.0]])


def test_the_band_is_the_largest_difference_of_an_engine_from_itself() -> None:
    assert aa_band([[1.0], [2.0]], [[1.1], [1.0]]) == pytest.approx(2.0)
    assert aa_band([[1.0]], [[1.0]]) == 1.0


@pytest.mark.parametrize(
    ("interval", "band", "expected"),
    [
        (Interval(1.5, 1.2, 1.8, 3), 1.1, "higher"),
        (Interval(0.5, 0.4, 0.6, 3), 1.1, "lower"),
        (Interval(1.5, 0.9, 2.5, 3), 1.1, "undecided"),  # the interval holds 1
        (Interval(1.05, 1.04, 1.06, 3), 1.1, "no difference"),  # inside the A/A band
        (Interval(0.95, 0.94, 0.96, 3), 1.1, "no difference"),
        (Interval(2.0, None, None, 1), 1.1, "not known"),
    ],
)
def test_verdicts(interval: Interval, band: float, expected: str) -> None:
    assert verdict(interval, band) == expected


@pytest.mark.parametrize("launches", [3, 5])
@pytest.mark.parametrize(("between", "within"), [(0.05, 0.05), (0.05, 0.0), (0.01, 0.05)])
def test_intervals_cover_the_truth_about_95_times_in_100(
    launches: int, between: float, within: float
) -> None:
    rng = np.random.default_rng(launches)
    trials, covered = 400, 0
    for seed in range(trials):
        logs = rng.normal(0, between, (launches, 1)) + rng.normal(0, within, (launches, 3))
        found = summarise(np.exp(logs).tolist(), seed)
        assert found.low is not None and found.high is not None
        covered += found.low <= 1 <= found.high
    assert 0.92 <= covered / trials <= 0.98


@pytest.mark.parametrize("launches", [3, 5])
def test_intervals_of_a_ratio_cover_the_truth_on_a_machine_with_phases(launches: int) -> None:
    """Each block has a phase of its own, up to several times slower, that both engines meet."""
    rng = np.random.default_rng(launches)
    trials, covered = 400, 0
    for seed in range(trials):
        phase = rng.uniform(0, 1.5, (launches, 1))
        base = np.exp(
            phase + rng.normal(0, 0.02, (launches, 3)) + rng.normal(0, 0.02, (launches, 1))
        )
        other = np.exp(
            phase + rng.normal(0, 0.02, (launches, 3)) + rng.normal(0, 0.02, (launches, 1))
        )
        found = ratio((1.05 * other).tolist(), base.tolist(), seed)
        assert found.low is not None and found.high is not None
        covered += found.low <= 1.05 <= found.high
    assert 0.92 <= covered / trials <= 0.98


def test_intervals_of_a_change_between_two_runs_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    trials, covered = 400, 0
    for seed in range(trials):
        before = np.exp(rng.normal(0, 0.02, (5, 1)))
        after = np.exp(rng.normal(0, 0.04, (4, 1))) * 1.05
        found = change(before.tolist(), after.tolist(), seed)
        assert found.low is not None and found.high is not None
        covered += found.low <= 1.05 <= found.high
    assert 0.92 <= covered / trials <= 0.98


@pytest.mark.parametrize(
    ("seconds", "count"),
    [
        ([5.0, 2.0, *[1.0] * 8], 2),
        ([1.0] * 6, 0),
        ([1.0, 1.0, 5.0, 1.0, 1.0], 0),  # slow later on is no warm-up
        ([1e5, 1e4, 1e3, 1e2, 1.0, 1.0], 3),  # at most half
        ([2.0], 0),
        ([], 0),
    ],
)
def test_the_warm_up_is_found(seconds: list[float], count: int) -> None:
    assert warm_up(seconds) == count


def test_noise_is_rarely_taken_for_warm_up() -> None:
    rng = np.random.default_rng(0)
    dropped = [warm_up(np.exp(rng.normal(0, 0.05, 6)).tolist()) for _ in range(500)]
    assert np.mean(dropped) < 0.3  # of six repeats


def test_a_planted_difference_is_found_and_none_is_not() -> None:
    def found(factor: float, seed: int) -> str:
        rng = np.random.default_rng(seed)
        base, twin, other = np.exp(rng.normal(0, 0.005, (3, 5, 1)))
        interval = ratio((other * factor).tolist(), base.tolist())
        return verdict(interval, aa_band(base.tolist(), twin.tolist()))

    assert sum(found(1.05, seed) == "higher" for seed in range(100)) >= 95
    assert sum(found(1.0, seed) in ("higher", "lower") for seed in range(100)) <= 5
