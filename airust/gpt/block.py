"""A transformer block in the pre-norm form: each half reads a normalised copy and adds to x.

x = x + attention(norm(x))        moves information between positions
x = x + feed_forward(norm(x))     works on each position by itself
"""

from __future__ import annotations

from torch import Tensor, nn

from airust.gpt.attention import Attention, Cache
from airust.gpt.config import GPTConfig
from airust.gpt.feed_forward import FeedForward
from airust.gpt.norm import RMSNorm


class Block(nn.Module):
    """Attention, then feed-forward, each around a residual connection."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:  # (B, T, C) -> (B, T, C)
        x = x + self.self_attn(self.input_layernorm(x), rope, mask, cache)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out
