"""What this host can do at best, measured in the same run as the engines.

Decoding one token at batch 1 reads every weight once, so that memory bandwidth at the **working
set of the weights** bounds it (small weights sit in a cache and read faster than DRAM); prefill
and large batches are bounded by the rate of matrix products:

    tokens/s <= min(S * bandwidth / bytes per token,  matrix rate / FLOP per token)

with S concurrent streams (Williams et al. 2009, Roofline). A ceiling is the best of several
trials: what the machine reached once it can reach.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numba import njit

from airust.engines.torch.pages import zeros_in_large_pages
from airust.engines.torch.panels import ROWS, WIDTH, tile
from airust.engines.torch.team import finish, take, together, wait

MB = 1_000_000
PIECE = 64_000  # numbers that a thread reads before it takes the next
INPUTS = 128  # of a tile: its weights and vectors stay in the fastest cache
ROUNDS = 2_000  # tiles of a piece of work, about a millisecond


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Rates of this host with the thread settings of this process."""

    threads: int
    bandwidth: dict[int, float]  # working set in bytes -> GB/s read
    matmul_fp32: float  # GFLOP/s
    matmul_bf16: float  # GFLOP/s
    matmul_int8: float  # 1e9 operations/s, int8 in and int32 out

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a working set's bytes become a string key."""
        values = asdict(self)
        values["bandwidth"] = {str(size): rate for size, rate in self.bandwidth.items()}
        return values


def measure(working_sets: Sequence[int] = (), seconds: float = 0.25) -> Ceilings:
    """Measure all ceilings in about ``seconds`` each.

    Args:
        working_sets: bytes; 64 MB stands for memory beyond the caches where none is given.
    """
    sizes = sorted(set(working_sets) or {64 * MB})
    return Ceilings(
        threads=torch.get_num_threads(),
        bandwidth={size: read_bandwidth(size, seconds) for size in sizes},
        matmul_fp32=max(matmul_rate(torch.float32, seconds=seconds), tile_rate(seconds)),
        matmul_bf16=matmul_rate(torch.bfloat16, seconds=seconds),
        matmul_int8=int8_rate(seconds=seconds),
    )


def read_bandwidth(working_set: int, seconds: float = 0.25) -> float:
    """GB/s (1e9 bytes) at which ``working_set`` bytes are read over and over.

    The best of three readers: a matrix-vector product, which is what decoding does, a sum, and a
    compiled sum of what lies in large pages.
    """
    columns = 1024
    rows = max(1, working_set // (4 * columns))
    matrix, vector = zeros_in_large_pages((rows, columns)).fill_(1), torch.ones(columns)
    out, numbers, threads = torch.empty(rows), matrix.view(-1).numpy(), torch.get_num_threads()
    totals = np.empty(-(-len(numbers) // PIECE), np.float32)
    readers: tuple[Callable[[], object], ...] = (
        lambda: torch.mv(matrix, vector, out=out),
        matrix.sum,
        lambda: together(lambda counters, me: _sum(numbers, totals, counters, me), 1, threads),
    )
    best = min(_fastest(reader, seconds / len(readers)) for reader in readers)
    return matrix.nbytes / best / 1e9


def matmul_rate(
    dtype: torch.dtype, m: int = 1024, k: int = 1024, n: int = 1024, seconds: float = 0.25
) -> float:
    """GFLOP/s of an (m, k) @ (k, n) product, counted as 2 m k n operations."""
    a, b = torch.ones(m, k, dtype=dtype), torch.ones(k, n, dtype=dtype)
    out = torch.empty(m, n, dtype=dtype)
    return 2 * m * k * n / _fastest(lambda: torch.mm(a, b, out=out), seconds) / 1e9


def tile_rate(seconds: float = 0.25) -> float:
    """GFLOP/s of products whose numbers never leave the fastest cache: what the arithmetic can do.

    A library's product of large matrices stays below it, an engine's may come between.
    """
    threads = torch.get_num_threads()
    x, panel = np.ones((ROWS, INPUTS), np.float32), np.ones((INPUTS, WIDTH), np.float32)

    def run() -> None:
        together(lambda counters, me: _tiles(x, panel, threads, counters, me), 1, threads)

    return 2 * x.size * WIDTH * ROUNDS * threads / _fastest(run, seconds) / 1e9


@njit(nogil=True, cache=True, fastmath=True)
def _sum(numbers: Any, totals: Any, counters: Any, me: int) -> None:
    """Read all numbers, each thread its share."""
    item = take(counters, 0, len(totals), me)
    while item < len(totals):
        piece, total = numbers[item * PIECE : (item + 1) * PIECE], np.float32(0)
        for i in range(len(piece)):
            total += piece[i]
        totals[item] = total
        finish(counters, 0)
        item = take(counters, 0, len(totals), me)
    wait(counters, 0, len(totals))


@njit(nogil=True, cache=True)
def _tiles(x: Any, panel: Any, items: int, counters: Any, me: int) -> None:
    y = np.zeros((x.shape[0], panel.shape[1]), np.float32)
    item = take(counters, 0, items, me)
    while item < items:
        for _ in range(ROUNDS):
            tile(x, panel, y, False)
        finish(counters, 0)
        item = take(counters, 0, items, me)
    wait(counters, 0, items)


def int8_rate(m: int = 1024, k: int = 1024, n: int = 1024, seconds: float = 0.25) -> float:
    """1e9 operations/s of an (m, k) @ (k, n) product of int8 into int32, counted as above."""
    a, b = torch.ones(m, k, dtype=torch.int8), torch.ones(k, n, dtype=torch.int8)
    return 2 * m * k * n / _fastest(lambda: torch._int_mm(a, b), seconds) / 1e9


def _fastest(run: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest call, timed in groups long enough for the clock."""
    with torch.inference_mode():
        run()  # the first call pays for threads and memory
        group, best = _group_size(run), float("inf")
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            start = time.perf_counter()
            for _ in range(group):
                run()
            best = min(best, (time.perf_counter() - start) / group)
    return best


def _group_size(run: Callable[[], object]) -> int:
    """Calls that take about 2 ms together."""
    start = time.perf_counter()
    run()
    return max(1, int(0.002 / max(time.perf_counter() - start, 1e-7)))
