"""A decode step cut into parts, each computed by a thread of its own.

Sequences that only decode have nothing to do with each other. PyTorch's threads share out the rows
of every operation and meet behind it, some forty times a step; small operations then wait more
than they work. Cut beforehand, the rows meet once. The weights are read once for each part, so a
model that does not fit into the caches may be better off without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from airust.engines.torch.steps import Step

T = TypeVar("T")
R = TypeVar("R")


def in_parts(forward: Callable[[Step], Tensor], step: Step, parts: int) -> Tensor:
    """The logits (N, V) of a step of single tokens, computed in so many parts at the same time.

    Args:
        forward: gives the logits of a part; it is called in several threads.
    """
    return torch.cat(_at_once(forward, step.split(parts), parts))


def share(work: Callable[[slice], None], rows: int, threads: int) -> None:
    """Do work on so many rows, in about equal parts at the same time."""
    size = -(-rows // threads)
    parts = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
    _at_once(work, parts, threads)


def _at_once(work: Callable[[T], R], parts: Sequence[T], threads: int) -> list[R]:
    """What work gives for each part; the first one is done by the thread that asks."""
    first, *others = parts
    waiting = [_threads(threads - 1).submit(_alone, work, part) for part in others]
    try:
        found = work(first)
    finally:
        wait(waiting)  # also where it failed: the parts write into one cache
    return [found, *(part.result() for part in waiting)]


@torch.inference_mode()
def _alone(work: Callable[[T], R], part: T) -> R:
    return work(part)


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    # The number of PyTorch's threads is each thread's own; here nothing is to be shared out.
    return ThreadPoolExecutor(count, "airust-decode", torch.set_num_threads, (1,))
