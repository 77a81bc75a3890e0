"""A compiled loop over rows on several threads.

PyTorch's own threads are not to be had for a loop of ours, and a second OpenMP beside its own
makes both wait. Python's will do, because compiled loops release the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np


def in_parts(work: Callable[[int, int], None], weights: np.ndarray, threads: int) -> None:
    """Call work(start, end) for parts of the rows that weigh about the same, one a thread.

    >>> parts = []
    >>> in_parts(lambda start, end: parts.append((start, end)), np.array([1, 1, 1, 5]), 2)
    >>> sorted(parts)
    [(0, 3), (3, 4)]

    Args:
        weights: of the rows (N).
    """
    sums = np.cumsum(weights)
    shares = sums[-1] * np.arange(1, threads) / threads
    borders = [0, *(int(b) for b in np.searchsorted(sums, shares)), len(weights)]
    first, *others = [(a, b) for a, b in pairwise(borders) if a < b]
    waiting = [_pool(threads - 1).submit(work, *part) for part in others]
    work(*first)
    for part in waiting:
        part.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="airust-attention")
