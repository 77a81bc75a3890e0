"""Rotary position embedding (Su et al. 2021, RoFormer, section 3.2.2).

Pair i of a head's D numbers is turned by the angle ``position * theta^(-2i/D)``. The dot product
of a query at m with a key at n then depends on m - n alone. Pairs are (i, i + D/2), the
half-split layout of Llama and Qwen checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(
    head_dim: int, length: int, theta: float, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines for positions 0 to length - 1, each (length, head_dim / 2), float32."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    positions = torch.arange(length, dtype=torch.float32, device=device)
    angles = torch.outer(positions, theta**-exponents)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of x (..., T, D) by its position's angles (..., T, D/2)."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
