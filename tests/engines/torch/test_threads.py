"""The thread tuner against made-up machines."""

from __future__ import annotations

from collections.abc import Callable

from airust.engines.torch.threads import ALONE, LAST_RETRY, ThreadTuner, Way

BOTH, CUT = Way(threads=2), Way(parts=2)


def run(
    tuner: ThreadTuner, seconds: Callable[[int, Way], float], rows: int, n: int, cut: bool = False
) -> list[Way]:
    """The ways of n steps on a machine that needs so many seconds for (rows, way)."""
    ways = []
    for _ in range(n):
        ways.append(tuner.choose(rows, cut))
        tuner.note(rows, ways[-1], seconds(rows, ways[-1]), cut)
    return ways


def quiet(rows: int, way: Way) -> float:
    return 1.0 + rows / way.threads / way.parts + 3.0 * (way.threads > 1) + 0.5 * (way.parts > 1)


def busy(rows: int, way: Way) -> float:
    return quiet(rows, way) * (2 if way == ALONE else 200)


def test_small_steps_one_thread_large_steps_all() -> None:
    tuner = ThreadTuner(2)
    assert set(run(tuner, quiet, rows=1, n=30)[4:]) == {ALONE}
    assert set(run(tuner, quiet, rows=64, n=30)[4:]) == {BOTH}
    assert tuner.choose(1) == ALONE


def test_steps_that_can_be_cut_are_another_matter() -> None:
    tuner = ThreadTuner(2)
    assert set(run(tuner, quiet, rows=64, n=30)[4:]) == {BOTH}
    assert set(run(tuner, quiet, rows=64, n=30, cut=True)[6:]) == {CUT}
    assert set(run(tuner, quiet, rows=1, n=30, cut=True)) == {ALONE, BOTH}


def test_every_way_gets_another_chance() -> None:
    tuner = ThreadTuner(2)
    run(tuner, quiet, rows=64, n=10, cut=True)
    assert {ALONE, BOTH} <= set(run(tuner, quiet, rows=64, n=200, cut=True))


def test_a_busy_machine_is_noticed_and_rarely_tried_again() -> None:
    for cut in (False, True):
        tuner = ThreadTuner(2)
        run(tuner, quiet, rows=64, n=100, cut=cut)
        ways = run(tuner, busy, rows=64, n=3000, cut=cut)
        assert ways[-500:].count(ALONE) >= 499
        assert ways.count(ALONE) > 2985
        assert set(run(tuner, quiet, rows=64, n=2 * LAST_RETRY, cut=cut)[-500:]) - {ALONE}


def test_one_interrupted_step_changes_nothing() -> None:
    tuner = ThreadTuner(2)
    run(tuner, quiet, rows=64, n=10)
    tuner.note(64, BOTH, 2 * quiet(64, BOTH))
    assert tuner.choose(64) == BOTH


def test_a_slow_first_step_is_not_held_against_a_way() -> None:
    tuner = ThreadTuner(2)
    seen: set[Way] = set()

    def cold(rows: int, way: Way) -> float:
        first = way not in seen
        seen.add(way)
        return quiet(rows, way) * (500 if first else 1)

    assert set(run(tuner, cold, rows=64, n=30)[4:]) == {BOTH}


def test_a_single_core() -> None:
    assert set(run(ThreadTuner(1), quiet, rows=64, n=5, cut=True)) == {ALONE}
