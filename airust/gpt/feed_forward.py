"""The feed-forward layer in SwiGLU form (Shazeer 2020, GLU Variants Improve Transformer).

    y = W_down (silu(W_gate x) * W_up x)

Two thirds of a block's parameters live here; facts are looked up here, position by position.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from airust.gpt.config import GPTConfig


class FeedForward(nn.Module):
    """Widen from C to F, gate, and narrow back to C."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.ffn_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.ffn_size, bias=False)
        self.down_proj = nn.Linear(config.ffn_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        gated: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return gated
