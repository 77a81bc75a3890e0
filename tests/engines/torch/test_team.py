"""Threads that share phases of work."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from numba import njit

from airust.engines.torch.team import finish, take, together, wait


@njit(nogil=True)
def sums(values: Any, totals: Any, counters: Any, me: int) -> None:
    """Each phase needs what the one before has left in all places."""
    for phase in range(len(totals)):
        item = take(counters, phase, len(values), me)
        while item < len(values):
            before = values[len(values) - 1 - item]
            totals[phase, item] = before if phase == 0 else totals[phase - 1].sum() + item
            finish(counters, phase)
            item = take(counters, phase, len(values), me)
        wait(counters, phase, len(values))


def expected(values: np.ndarray, phases: int) -> np.ndarray:
    rows = [values[::-1]]
    for _ in range(phases - 1):
        rows.append(rows[-1].sum() + np.arange(len(values)))
    return np.array(rows)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_item_is_done_once_and_in_order(threads: int) -> None:
    values = np.arange(37)
    for _ in range(200):
        totals = np.full((6, len(values)), -1)
        together(lambda counters, me, totals=totals: sums(values, totals, counters, me), 6, threads)
        assert (totals == expected(values, 6)).all()


def test_a_thread_that_comes_too_late_is_not_waited_for() -> None:
    values, totals = np.arange(5), np.full((3, 5), -1)
    begun, late, ended = threading.Event(), threading.Event(), threading.Event()

    def work(counters: np.ndarray, me: int) -> None:
        if me:
            begun.set()
            late.wait(30)
        begun.wait(30)
        sums(values, totals, counters, me)
        if me:
            ended.set()

    together(work, 3, threads=2)
    assert (totals == expected(values, 3)).all()
    totals[:] = 0
    late.set()
    assert ended.wait(30)
    assert not totals.any()  # it found nothing left to do


def test_what_nobody_has_begun_is_forgotten() -> None:
    """A thread that is kept from its core must not gather the arrays of all steps meanwhile."""
    ready = threading.Event()

    def slow(counters: np.ndarray, me: int) -> None:
        if me:
            ready.wait(30)

    together(slow, 1, threads=2)
    values, totals = np.arange(5), np.zeros((1, 5), np.int64)
    seen = weakref.ref(totals)
    together(lambda counters, me, totals=totals: sums(values, totals, counters, me), 1, threads=2)
    del totals
    gc.collect()
    assert seen() is None
    ready.set()
