"""The model's forward pass once more, flattened for speed: same weights, fewer steps.

``airust.gpt`` is written to be read and trained; this file is written to decode. A step takes N
tokens, whatever sequences they belong to, as the rows of one matrix, so that every weight is read
once a step. Only attention looks at sequences. A decode step of a small model is bound by the
number of tensor operations, not by arithmetic, hence:

* queries, keys and values come from one product, and so do the gate and the value of SwiGLU;
* the gains of RMSNorm are multiplied into the weights that follow them, once, at load;
* RMSNorm itself is three small operations, x / hypot(|x|, sqrt(C eps)), with the factor sqrt(C)
  inside those weights too: x / sqrt(mean(x^2) + eps) = sqrt(C) x / sqrt(|x|^2 + C eps).

Tests hold the logits equal to ``GPT.forward``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from airust.engines.torch.linear import Linear
from airust.engines.torch.slots import SlotCache
from airust.engines.torch.steps import Segment, Step
from airust.gpt.attention import Attention
from airust.gpt.block import Block
from airust.gpt.model import GPT
from airust.gpt.norm import RMSNorm

KeysValues = tuple[Tensor, Tensor]  # (n, K, S, D) each


class FastGPT:
    """A GPT's weights, prepared for inference. Safe to call from several threads.

    Args:
        model: read once and not kept.
        dtype: of the weights; all else is float32, which attention on a CPU is fastest in.
    """

    def __init__(self, model: GPT, dtype: torch.dtype = torch.float32) -> None:
        config = self.config = model.config
        self.embedding = model.embed_tokens.weight.detach().to(dtype)
        cos, sin = model.rope_cos.detach(), model.rope_sin.detach()
        # The sign that rotate() gives to the second half is inside the sine: (rows, 2, 1, D).
        turns = (torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1))
        self.rope = torch.stack(turns, dim=1).unsqueeze(2)
        self.layers = [FastLayer(cast(Block, block), dtype) for block in model.layers]
        self.norm = Norm(config.hidden_size, config.norm_eps)
        head = model.lm_head.weight.detach() * self.norm.gain(model.norm.weight)
        self.head = Linear(head, dtype=dtype)

    def forward(self, step: Step, cache: SlotCache) -> Tensor:
        """Run one step, storing its keys and values: logits (outputs, V) in float32."""
        x = F.embedding(step.tokens, self.embedding).float()  # (N, C)
        rope = self.rope.index_select(0, step.angles).unbind(1)  # (N, 1, D) each
        views = [cache.views(s.slots, s.length) for s in step.segments]
        for i, layer in enumerate(self.layers):
            held = [(keys[i], values[i]) for keys, values in views]
            layer.forward(x, rope, step, cache.rows[i], held)
        if step.outputs is not None:
            x = x.index_select(0, step.outputs)
        if not len(x):
            return x.new_empty(0, self.config.vocab_size)
        return self.head(self.norm(x))


class Norm:
    """RMSNorm without its gain and without the factor sqrt(size): see the module's text."""

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


class FastLayer:
    """One block."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        attention = block.self_attn
        self.heads, self.kv_heads = attention.heads, attention.kv_heads
        self.head_dim = attention.head_dim
        size = attention.q_proj.in_features
        self.norm = Norm(size, block.input_layernorm.eps)
        before = self.norm.gain(block.input_layernorm.weight)
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        qkv = torch.cat([p.weight.detach() for p in projections])  # ((H + 2K) D, C)
        biases = [p.bias.detach() for p in projections if p.bias is not None]
        self.qkv = Linear(qkv * before, torch.cat(biases) if biases else None, dtype)
        out = attention.o_proj
        self.out = Linear(
            out.weight.detach(), None if out.bias is None else out.bias.detach(), dtype
        )
        self.qk_norm, self.qk_gain = _qk_norm(attention)
        middle = self.norm.gain(block.post_attention_layernorm.weight)
        gate_up = torch.cat([block.mlp.gate_proj.weight, block.mlp.up_proj.weight]).detach()
        self.gate_up = Linear(gate_up * middle, dtype=dtype)
        self.down = Linear(block.mlp.down_proj.weight.detach(), dtype=dtype)

    def forward(
        self, x: Tensor, rope: Sequence[Tensor], step: Step, rows: Tensor, held: list[KeysValues]
    ) -> None:
        """Add both halves of the block to the residual stream x (N, C), in place."""
        qkv = self.qkv(self.norm(x))  # (N, (H + 2K) D)
        q = self._rotate(qkv, *rope)  # (N, H, D)
        kv = qkv.view(len(x), -1, self.head_dim)[:, self.heads :]  # (N, 2K, D)
        rows.index_put_((step.places,), kv)
        parts = [self._attend(q, s, *kv) for s, kv in zip(step.segments, held, strict=True)]
        self.out.add_to(x, parts[0] if len(parts) == 1 else torch.cat(parts))
        gate, up = self.gate_up(self.norm(x)).view(len(x), 2, -1).unbind(1)  # (N, F) each
        self.down.add_to(x, F.silu(gate).mul_(up))

    def _rotate(self, qkv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Normalise and turn queries and keys inside qkv; returns the queries (N, H, D)."""
        turning = self.heads + self.kv_heads
        qk = qkv[:, : turning * self.head_dim].view(-1, turning, self.head_dim)  # (N, H + K, D)
        y = qk
        if self.qk_gain is not None:
            y = y * (self.qk_gain / self.qk_norm.scale(y))
        # airust.gpt.rope.rotate, with the halves swapped by roll.
        torch.addcmul(y * cos, y.roll(self.head_dim // 2, -1), sin, out=qk)
        return qk[:, : self.heads]

    def _attend(self, q: Tensor, s: Segment, k: Tensor, v: Tensor) -> Tensor:
        """Attention of one segment to keys and values (n, K, S, D): (N, H, D) -> (n T, H D)."""
        n, K, _, D = k.shape
        if n * s.tokens < len(q):
            q = q[s.first : s.first + n * s.tokens]
        if s.tokens == 1:
            # The H / K query heads of a group are as many queries to the same keys.
            q = q.view(n, K, -1, D)
            return F.scaled_dot_product_attention(q, k, v, s.mask).reshape(n, -1)
        if self.heads != K:
            k, v = (t.repeat_interleave(self.heads // K, dim=1) for t in (k, v))  # (n, H, S, D)
        q = q.view(n, s.tokens, -1, D).transpose(1, 2)  # (n, H, T, D)
        out = F.scaled_dot_product_attention(q, k, v, s.mask, is_causal=s.mask is None)
        return out.transpose(1, 2).reshape(n * s.tokens, -1)


def _qk_norm(attention: Attention) -> tuple[Norm, Tensor | None]:
    """The norm of queries and keys, and its gain (H + K, D), None where the model has none."""
    q_norm, k_norm = attention.q_norm, attention.k_norm
    if not (isinstance(q_norm, RMSNorm) and isinstance(k_norm, RMSNorm)):
        return Norm(attention.head_dim, 0.0), None
    norm = Norm(attention.head_dim, q_norm.eps)
    q_gain, k_gain = norm.gain(q_norm.weight), norm.gain(k_norm.weight)
    return norm, torch.stack([q_gain] * attention.heads + [k_gain] * attention.kv_heads)
