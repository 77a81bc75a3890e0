"""Phi-3's way to store a layer: fewer and larger tensors than ours.

=============  ==================================================  ================
stored         is, one under the other                             rows
=============  ==================================================  ================
qkv_proj       q_proj, k_proj, v_proj                              H D + K D + K D
gate_up_proj   gate_proj, up_proj                                  F + F
=============  ==================================================  ================

Phi-4-mini also turns only the first R numbers of a head, in pairs (i, i + R/2). Ours are
(i, i + D/2). A product of a query with a key does not depend on the order of their numbers, so the
rows of q_proj and k_proj are put into an order in which each pair is where we look for it, and
the numbers that are not turned make up the rest of both halves.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from airust.gpt.config import GPTConfig

Take = Callable[[str, tuple[int, ...]], Tensor]
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
GATE_UP = ("mlp.gate_proj", "mlp.up_proj")


def unfuse(config: GPTConfig, take: Take) -> dict[str, Tensor]:
    """The separate weights of all layers.

    Args:
        take: gives the stored tensor of a name and shape.
    """
    D, C = config.head_dim, config.hidden_size
    rows = {
        "self_attn.qkv_proj": [config.heads * D, config.kv_heads * D, config.kv_heads * D],
        "mlp.gate_up_proj": [config.ffn_size] * 2,
    }
    found: dict[str, Tensor] = {}
    for layer in (f"model.layers.{i}." for i in range(config.layers)):
        for stored, names in _fused(layer):
            sizes = rows[stored.removeprefix(layer)]
            weight = take(f"{stored}.weight", (sum(sizes), C))
            found |= dict(zip(names, weight.split(sizes), strict=True))
        for name in _turned(layer):
            found[name] = _reordered(config, found[name], _places(config))
    return found


def fuse(config: GPTConfig, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``unfuse``; what is not stored in another form stays as it is."""
    stored = dict(tensors)
    for layer in (f"model.layers.{i}." for i in range(config.layers)):
        for name in _turned(layer):
            stored[name] = _reordered(config, stored[name], _places(config).argsort())
        for fused, names in _fused(layer):
            stored[f"{fused}.weight"] = torch.cat([stored.pop(name) for name in names])
    return stored


def _fused(layer: str) -> list[tuple[str, list[str]]]:
    pairs = (("self_attn.qkv_proj", QKV), ("mlp.gate_up_proj", GATE_UP))
    return [
        (layer + stored, [f"{layer}{name}.weight" for name in names]) for stored, names in pairs
    ]


def _turned(layer: str) -> list[str]:
    return [f"{layer}{name}.weight" for name in QKV[:2]]


def _places(config: GPTConfig) -> Tensor:
    """Where in a stored head each of our head's numbers is.

    >>> _places(GPTConfig(vocab_size=9, head_dim=8, rotary_share=0.5, qk_norm=False, fused=True))
    tensor([0, 1, 4, 5, 2, 3, 6, 7])
    """
    D, R = config.head_dim, config.rotary_dim
    first, second = torch.arange(R).chunk(2)
    rest, more = torch.arange(R, D).chunk(2)
    return torch.cat((first, rest, second, more))


def _reordered(config: GPTConfig, weight: Tensor, places: Tensor) -> Tensor:
    """The same order for the rows of every head."""
    if config.rotary_share == 1:  # it would change nothing
        return weight
    return weight.view(-1, config.head_dim, weight.shape[1])[:, places].flatten(0, 1)
