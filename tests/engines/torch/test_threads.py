"""The thread tuner against made-up machines."""

from __future__ import annotations

from collections.abc import Callable

from airust.engines.torch.threads import LAST_RETRY, ThreadTuner


def run(
    tuner: ThreadTuner,
    seconds: Callable[[int, int], float],
    rows: int,
    n: int,
    decodes: bool = False,
) -> list[int]:
    """The threads of n steps on a machine that needs so many seconds for (rows, threads)."""
    chosen = []
    for _ in range(n):
        chosen.append(tuner.choose(rows, decodes))
        tuner.note(rows, chosen[-1], seconds(rows, chosen[-1]), decodes)
    return chosen


def quiet(rows: int, threads: int) -> float:
    return 1.0 + rows / threads + 3.0 * (threads > 1)


def busy(rows: int, threads: int) -> float:
    return quiet(rows, threads) * (2 if threads == 1 else 200)


def test_small_steps_one_thread_large_steps_all() -> None:
    tuner = ThreadTuner(2)
    assert set(run(tuner, quiet, rows=1, n=30)[4:]) == {1}
    assert set(run(tuner, quiet, rows=64, n=30)[4:]) == {2}
    assert tuner.choose(1) == 1


def test_steps_that_decode_have_times_of_their_own() -> None:
    tuner = ThreadTuner(2)
    assert set(run(tuner, quiet, rows=64, n=30)[4:]) == {2}
    assert set(run(tuner, busy, rows=64, n=30, decodes=True)[4:]) == {1}
    assert tuner.choose(64) == 2


def test_both_numbers_get_another_chance() -> None:
    tuner = ThreadTuner(3)
    run(tuner, quiet, rows=64, n=10)
    assert {1, 3} == set(run(tuner, quiet, rows=64, n=200))


def test_a_busy_machine_is_noticed_and_rarely_tried_again() -> None:
    tuner = ThreadTuner(2)
    run(tuner, quiet, rows=64, n=100)
    chosen = run(tuner, busy, rows=64, n=3000)
    assert chosen[-500:].count(1) >= 499
    assert chosen.count(1) > 2985
    assert 2 in run(tuner, quiet, rows=64, n=2 * LAST_RETRY)[-500:]


def test_one_interrupted_step_changes_nothing() -> None:
    tuner = ThreadTuner(2)
    run(tuner, quiet, rows=64, n=10)
    tuner.note(64, 2, 2 * quiet(64, 2))
    assert tuner.choose(64) == 2


def test_a_slow_first_step_is_not_held_against_a_number() -> None:
    tuner = ThreadTuner(2)
    seen: set[int] = set()

    def cold(rows: int, threads: int) -> float:
        first = threads not in seen
        seen.add(threads)
        return quiet(rows, threads) * (500 if first else 1)

    assert set(run(tuner, cold, rows=64, n=30)[4:]) == {2}


def test_a_single_core() -> None:
    assert set(run(ThreadTuner(1), quiet, rows=64, n=5)) == {1}
