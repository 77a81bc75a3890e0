"""Root-mean-square layer normalisation (Zhang and Sennrich 2019, equation 4).

    y_i = g_i * x_i / sqrt(mean_j(x_j^2) + eps)

It keeps the size of the residual stream steady from block to block; unlike LayerNorm it neither
subtracts the mean nor adds a bias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Normalise the last dimension and scale it by a learned gain.

    >>> RMSNorm(2)(torch.tensor([3.0, 4.0]))  # root mean square of (3, 4) is 3.5355
    tensor([0.8485, 1.1314], grad_fn=<MulBackward0>)
    """

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:  # (..., size) -> (..., size)
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)
