"""Threads that work through one list of phases together: each does its share, then others'.

The items of a phase are dealt out beforehand, neighbours to the same thread: memory is read faster
where each thread reads on and on, by a fifth on the machine this was measured on. Who is done with
its own items takes what another has not begun, and the next phase begins when all are done, whoever
did them. So a thread that comes late, or that another process keeps from its core, holds up the
others by one item at most; if it never comes, they do its share.

Numba keeps compiled functions by the date of their own file: whoever changes this file or
``panels`` has to touch those that call it (``kernels``, ``airust.bench.ceilings``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Work = Callable[[np.ndarray, int], object]
COUNTER = ir.IntType(64)
SPINS = 200  # looks at a counter before the core is offered to others; some microseconds


def together(work: Work, phases: int, threads: int) -> None:
    """Call compiled work in so many threads; all its phases are done when this returns.

    Args:
        work: is given the counters (phases, threads + 1), how many items of each thread are taken
            and how many are done, and the thread's number. It goes through the phases with
            ``take``, ``finish`` and ``wait``; a thread that begins when all is done finds nothing
            to do.
    """
    counters = np.zeros((phases, threads + 1), np.int64)
    if threads == 1:
        work(counters, 0)
        return
    shared = [work]
    for me in range(1, threads):
        _threads(threads - 1).submit(_help, shared, counters, me)
    work(counters, 0)
    shared.clear()  # who comes late must not keep the arrays of this work alive


def _help(shared: list[Work], counters: np.ndarray, me: int) -> None:
    for work in shared:
        work(counters, me)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "airust-decode")


def _one_more(typing: Any, counters: Any, phase: Any, which: Any) -> Any:
    """Add one to a counter, seen by all threads at once: its value before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature, arguments)
        return builder.atomic_rmw("add", pointer, COUNTER(1), "acq_rel")

    return types.int64(counters, types.intp, types.intp), generate


def _value(typing: Any, counters: Any, phase: Any, which: Any) -> Any:
    """A counter's value, and sight of all that was written before it was counted up."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature, arguments)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(counters, types.intp, types.intp), generate


_add_one: Any = intrinsic(_one_more)
_read: Any = intrinsic(_value)


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    width = builder.extract_value(array.shape, 1)
    index = builder.add(builder.mul(arguments[1], width), arguments[2])
    return builder.gep(array.data, [index])


if hasattr(os, "sched_yield"):
    _offer_core = types.ExternalFunction("sched_yield", types.intc())
else:

    @njit(nogil=True, cache=True)
    def _offer_core() -> int:
        return 0


@njit(nogil=True, cache=True)
def take(counters: Any, phase: int, items: int, me: int) -> Any:
    """The number of an item to do; ``items`` if none is left."""
    threads = counters.shape[1] - 1
    for ahead in range(threads):
        whose = (me + ahead) % threads
        first, last = whose * items // threads, (whose + 1) * items // threads
        if first + _read(counters, phase, whose) < last:
            item = first + _add_one(counters, phase, whose)
            if item < last:
                return item
    return items


@njit(nogil=True, cache=True)
def finish(counters: Any, phase: int) -> None:
    """An item is done."""
    _add_one(counters, phase, counters.shape[1] - 1)


@njit(nogil=True, cache=True)
def wait(counters: Any, phase: int, items: int) -> None:
    """Until all items are done."""
    spins = 0
    while _read(counters, phase, counters.shape[1] - 1) < items:
        spins += 1
        if spins > SPINS:
            _offer_core()
