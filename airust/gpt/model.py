"""The GPT: embedding, blocks, final norm, output projection.

>>> config = GPTConfig(vocab_size=100, hidden_size=32, layers=2, heads=2, kv_heads=1,
...                    head_dim=16, ffn_size=64, context=16)
>>> model = GPT(config)
>>> model(torch.tensor([[1, 2, 3]])).shape
torch.Size([1, 3, 100])
>>> model.parameter_count()
21856
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from airust.gpt.attention import Attention, Cache
from airust.gpt.block import Block
from airust.gpt.config import GPTConfig
from airust.gpt.embedding import TokenEmbedding
from airust.gpt.norm import RMSNorm
from airust.gpt.output import OutputProjection
from airust.gpt.rope import rotary_table
from airust.types import ContextOverflowError


class GPT(nn.Module):
    """A decoder-only language model. Attribute names follow the Hugging Face checkpoints."""

    rope_cos: Tensor
    rope_sin: Tensor

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = TokenEmbedding(config)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.lm_head = OutputProjection(config)
        if config.tie_embeddings:
            self.lm_head.tie(self.embed_tokens)
        cos, sin = rotary_table(config)
        self.register_buffer("rope_cos", cos, persistent=False)
        self.register_buffer("rope_sin", sin, persistent=False)
        self._init_weights()

    def _init_weights(self) -> None:
        # Feed-forward branches start at zero, so that every block begins near the identity
        # (Zhang et al. 2019, Fixup; also nanochat).
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                if name.endswith("down_proj"):
                    nn.init.zeros_(module.weight)
                else:
                    nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, Attention):
                module.start_copying()

    def hidden(
        self,
        token_ids: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        length: int | None = None,
    ) -> Tensor:
        """The last block's normalised output, before the output projection: (B, T) -> (B, T, C).

        Args:
            mask: True where a query may look, broadcastable to (B, H, T, S); None is causal.
            cache: keys and values of earlier positions.
            length: of the whole text, for LongRoPE, if more of it follows in later calls. All
                calls for one text have to say the same.

        Raises:
            ContextOverflowError: the positions go beyond the context.
        """
        start, T = (cache.length if cache is not None else 0), token_ids.shape[1]
        if start + T > self.config.context:
            raise ContextOverflowError(
                f"{start + T} tokens do not fit into the model's context of {self.config.context}."
            )
        if cache is not None and mask is None and T > 1:
            mask = torch.ones(T, start + T, dtype=torch.bool, device=token_ids.device).tril(start)
        first = self.config.rotary_start(length or start + T) + start
        rope = self.rope_cos[first : first + T], self.rope_sin[first : first + T]
        x = self.embed_tokens(token_ids)  # (B, T, C)
        for block in self.layers:
            x = block(x, rope, mask, cache)
        out: Tensor = self.norm(x)
        return out

    def forward(
        self,
        token_ids: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        length: int | None = None,
    ) -> Tensor:
        """Logits of the next token at every position: (B, T) -> (B, T, V); as ``hidden``."""
        logits: Tensor = self.lm_head(self.hidden(token_ids, mask, cache, length))
        return logits

    def parameter_count(self) -> int:
        """Learned numbers; a tied table counts once."""
        return sum(p.numel() for p in self.parameters())
