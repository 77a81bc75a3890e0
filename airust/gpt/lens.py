"""Look inside the model while it reads a text: where heads look, and what each layer would say.

**Attention maps** are the weights of ``softmax(Q K^T / sqrt(D))``: how much each position takes
from each earlier one, for every head.

The **logit lens** (nostalgebraist 2020) reads the residual stream after each block as if it were
the last: normalise it, project it on the vocabulary. One sees at which depth a prediction
appears. In a model whose embeddings are tied, layer 0, the embedding itself, predicts the token
that it stands for.

>>> from airust.gpt.config import GPTConfig
>>> config = GPTConfig(vocab_size=50, hidden_size=32, layers=2, heads=4, kv_heads=2, head_dim=8,
...                    ffn_size=64, context=16)
>>> inside = look(GPT(config), [3, 1, 4, 1, 5])
>>> inside.attention.shape, inside.logprobs.shape  # (L, H, T, T), (L + 1, T, V)
(torch.Size([2, 4, 5, 5]), torch.Size([3, 5, 50]))
>>> inside.attention.sum(-1).allclose(torch.ones(2, 4, 5))
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from airust.gpt.attention import Attention
from airust.gpt.block import Block
from airust.gpt.model import GPT
from airust.gpt.rope import rotate
from airust.types import UserError


@dataclass(frozen=True, slots=True)
class Inside:
    """What a pass over T tokens showed."""

    token_ids: tuple[int, ...]
    attention: Tensor  # (L, H, T, T): layer, head, the position that looks, where it looks
    logprobs: Tensor  # (L + 1, T, V): of the next token; after the embedding, after each block


@torch.no_grad()
def look(model: GPT, token_ids: Sequence[int]) -> Inside:
    """Run the model over a text and keep what its layers do.

    Raises:
        UserError: there is no token.
        ContextOverflowError: there are more than the context holds.
    """
    if not token_ids:
        raise UserError("There is nothing to look at: the text has no tokens.")
    ids = torch.tensor([list(token_ids)], device=model.embed_tokens.weight.device)  # (1, T)
    states: list[Tensor] = []  # the residual stream, (1, T, C) each
    seen: list[tuple[Any, ...]] = []  # what each block was called with
    hooks = [model.embed_tokens.register_forward_hook(lambda _, __, out: states.append(out))]
    for block in model.layers:
        hooks.append(block.register_forward_pre_hook(lambda _, given: seen.append(given)))
        hooks.append(block.register_forward_hook(lambda _, __, out: states.append(out)))
    try:
        model.hidden(ids)
    finally:
        for hook in hooks:
            hook.remove()
    maps = []
    for block, (x, rope, *_) in zip(model.layers, seen, strict=True):
        assert isinstance(block, Block)
        maps.append(attention_map(block.self_attn, block.input_layernorm(x), rope)[0])
    lens = [model.lm_head(model.norm(state))[0].float().log_softmax(-1) for state in states]
    return Inside(tuple(token_ids), torch.stack(maps).float(), torch.stack(lens))


def attention_map(attention: Attention, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """The weights that ``Attention.forward`` uses without telling: (B, T, C) -> (B, H, T, T)."""
    B, T, _ = x.shape
    heads, kv_heads, width = attention.heads, attention.kv_heads, attention.head_dim
    q = attention.q_norm(attention.q_proj(x).view(B, T, heads, width).transpose(1, 2))
    k = attention.k_norm(attention.k_proj(x).view(B, T, kv_heads, width).transpose(1, 2))
    q, k = rotate(q, *rope), rotate(k, *rope).repeat_interleave(heads // kv_heads, dim=1)
    scores = (q @ k.transpose(2, 3)) * width**-0.5  # (B, H, T, T)
    later = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
    weights: Tensor = scores.masked_fill(later, float("-inf")).softmax(-1)
    return weights
