"""The weights of one block as inference wants them: joined, and with the gains of norms inside."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from airust.gpt.attention import Attention
from airust.gpt.block import Block
from airust.gpt.norm import RMSNorm


class Norm:
    """RMSNorm without its gain and without the factor sqrt(size): both are in the next weight."""

    def __init__(self, size: int, eps: float) -> None:
        self.size = size
        self.floor = torch.tensor((size * eps) ** 0.5)

    def gain(self, weight: Tensor) -> Tensor:
        """What the next weight has to be multiplied by."""
        gain: Tensor = weight.detach().float() * self.size**0.5
        return gain

    def __call__(self, x: Tensor) -> Tensor:  # (..., size) -> (..., size)
        return x / self.scale(x)

    def scale(self, x: Tensor) -> Tensor:  # (..., size) -> (..., 1)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return torch.hypot(length, self.floor)


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One block. Matrices are (outputs, inputs)."""

    heads: int
    kv_heads: int
    head_dim: int
    norm: Norm  # before both halves
    qk_norm: Norm
    qk_gain: Tensor | None  # of the norm of queries and keys (H + K, D)
    qkv: Tensor  # ((H + 2 K) D, C)
    qkv_bias: Tensor | None
    out: Tensor  # (C, H D)
    out_bias: Tensor | None
    gate_up: Tensor  # (2 F, C)
    down: Tensor  # (C, F)

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in held.items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    @classmethod
    def of(cls, block: Block) -> Self:
        """Join what is multiplied by the same vector."""
        attention, mlp = block.self_attn, block.mlp
        norm = Norm(attention.q_proj.in_features, block.input_layernorm.eps)
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        qkv = torch.cat([p.weight.detach() for p in projections])
        biases = [p.bias.detach() for p in projections if p.bias is not None]
        gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).detach()
        qk_norm, qk_gain = _qk_norm(attention)
        return cls(
            attention.heads,
            attention.kv_heads,
            attention.head_dim,
            norm,
            qk_norm,
            qk_gain,
            qkv * norm.gain(block.input_layernorm.weight),
            torch.cat(biases) if biases else None,
            attention.o_proj.weight.detach(),
            _bias(attention.o_proj),
            gate_up * norm.gain(block.post_attention_layernorm.weight),
            mlp.down_proj.weight.detach(),
        )


def _bias(linear: nn.Linear) -> Tensor | None:
    return None if linear.bias is None else linear.bias.detach()


def _qk_norm(attention: Attention) -> tuple[Norm, Tensor | None]:
    """The norm of queries and keys, and its gain (H + K, D), None where the model has none."""
    q_norm, k_norm = attention.q_norm, attention.k_norm
    if not (isinstance(q_norm, RMSNorm) and isinstance(k_norm, RMSNorm)):
        return Norm(attention.head_dim, 0.0), None
    norm = Norm(attention.head_dim, q_norm.eps)
    q_gain, k_gain = norm.gain(q_norm.weight), norm.gain(k_norm.weight)
    return norm, torch.stack([q_gain] * attention.heads + [k_gain] * attention.kv_heads)
