"""Which number format training computes in: measured, not looked up by the name of a CPU.

bfloat16 halves the bytes, but only pays where the processor multiplies it natively (AMX,
AVX512-BF16, tensor cores); elsewhere it is emulated and several times slower than float32.
"""

from __future__ import annotations

import time
from functools import cache

import torch

GAIN = 1.2  # bfloat16 must be this much faster to be worth its rounding


@cache
def matmul_flops(dtype: torch.dtype, device: str = "cpu", size: int = 768) -> float:
    """Floating-point operations a second of a square matrix product, the best of several."""
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        c = a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    assert c.shape == (size, size)
    return 2 * size**3 / best


def compute_dtype(device: str = "cpu") -> torch.dtype:
    """bfloat16 where it measures clearly faster than float32, float32 elsewhere."""
    faster = matmul_flops(torch.bfloat16, device) > GAIN * matmul_flops(torch.float32, device)
    return torch.bfloat16 if faster else torch.float32
