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

import torch

MB = 1_000_000


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
        matmul_fp32=matmul_rate(torch.float32, seconds=seconds),
        matmul_bf16=matmul_rate(torch.bfloat16, seconds=seconds),
        matmul_int8=int8_rate(seconds=seconds),
    )


def read_bandwidth(working_set: int, seconds: float = 0.25) -> float:
    """GB/s (1e9 bytes) at which ``working_set`` bytes are read over and over.

    The better of two readers: a matrix-vector product, which is what decoding does, and a sum.
    """
    columns = 1024
    rows = max(1, working_set // (4 * columns))
    matrix, vector = torch.ones(rows, columns), torch.ones(columns)
    out = torch.empty(rows)
    readers: tuple[Callable[[], object], ...] = (
        lambda: torch.mv(matrix, vector, out=out),
        matrix.sum,
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
