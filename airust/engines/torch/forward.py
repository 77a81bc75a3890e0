"""The model's forward pass once more, flattened for speed: same weights, fewer steps.

``airust.gpt`` is written to be read and trained; this file is written to decode. A step takes N
tokens, whatever sequences they belong to, as the rows of one matrix, so that every weight is read
once a step. Only attention looks at sequences. A decode step of a small model is bound by the
number of tensor operations, not by arithmetic, hence:

* queries, keys and values come from one product, and so do the gate and the value of SwiGLU;
* the gains of RMSNorm are multiplied into the weights that follow them, once, at load;
* RMSNorm itself is three small operations, x / hypot(|x|, sqrt(C eps)), with the factor sqrt(C)
  inside those weights too: x / sqrt(mean(x^2) + eps) = sqrt(C) x / sqrt(|x|^2 + C eps);
* on a CPU attention is one compiled loop (``kernels``), and so is mostly the whole step
  (``compiled``).

Tests hold the logits equal to ``GPT.forward``.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from airust.engines.torch import kernels
from airust.engines.torch.compiled import CompiledSteps, seen, takes_all
from airust.engines.torch.linear import Linear
from airust.engines.torch.slots import SlotCache
from airust.engines.torch.steps import Piece, Step
from airust.engines.torch.team import together
from airust.engines.torch.weights import LayerWeights, Norm
from airust.gpt.block import Block
from airust.gpt.model import GPT

WORTH_SHARING = 2048  # positions that a step attends to; one thread is done with fewer as soon


class FastGPT:
    """A GPT's weights, prepared for inference. Safe to call from several threads.

    Args:
        model: read once and not kept.
        dtype: of the weights; all else is float32, which attention on a CPU is fastest in.
        device: where they are, and the cache that ``forward`` is given.
    """

    def __init__(self, model: GPT, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
        config = self.config = model.config
        self.device = torch.device(device)
        stored = torch.bfloat16 if dtype == torch.int8 else dtype
        self.embedding = model.embed_tokens.weight.detach().to(self.device, stored)
        cos, sin = model.rope_cos.detach(), model.rope_sin.detach()
        # The sign that rotate() gives to the second half is inside the sine: (rows, 2, 1, D).
        turns = (torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1))
        self.rope = torch.stack(turns, dim=1).unsqueeze(2).to(self.device)
        self.norm = Norm(config.hidden_size, config.norm_eps)
        self.compiled: CompiledSteps | None = None
        if self.device.type == "cpu" and CompiledSteps.fits(config, dtype):
            self.compiled = CompiledSteps(config, dtype)
        by_operations = self.compiled is None or not takes_all(dtype)
        self.layers: list[FastLayer] = []
        for i, block in enumerate(model.layers):
            weights = LayerWeights.of(cast(Block, block))
            if self.compiled is not None:
                self.compiled.put(i, weights)
            if by_operations:
                self.layers.append(FastLayer(weights, dtype, self.device))
        head = model.lm_head.weight.detach() * self.norm.gain(model.norm.weight)
        if self.compiled is not None:
            self.compiled.put_head(head)
        self.head = Linear(head.to(self.device), dtype=dtype) if by_operations else None

    def forward(self, step: Step, cache: SlotCache) -> Tensor:
        """Run one step, storing its keys and values: logits (outputs, V) in float32.

        On a CPU as many threads share the work as PyTorch is set to.
        """
        step = step.to(self.device)
        x = F.embedding(step.tokens, self.embedding).float()  # (N, C)
        rope = self.rope.index_select(0, step.angles)  # (N, 2, 1, D)
        if self.compiled is not None and self.compiled.takes(step):
            return self.compiled.forward(step, cache, x, rope, torch.get_num_threads())
        assert self.head is not None
        for layer, table in zip(self.layers, cache.layers, strict=True):
            layer.forward(x, rope, step, table)
        if step.outputs is not None:
            x = x.index_select(0, step.outputs)
        if not len(x):
            return x.new_empty(0, self.config.vocab_size)
        return self.head(self.norm(x))


class FastLayer:
    """One block, in tensor operations."""

    def __init__(self, weights: LayerWeights, dtype: torch.dtype, device: torch.device) -> None:
        weights = weights.to(device)
        self.heads, self.kv_heads = weights.heads, weights.kv_heads
        self.head_dim = weights.head_dim
        self.norm, self.qk_norm, self.qk_gain = weights.norm, weights.qk_norm, weights.qk_gain
        self.on_cpu = device.type == "cpu"
        self.qkv = Linear(weights.qkv, weights.qkv_bias, dtype)
        self.out = Linear(weights.out, weights.out_bias, dtype)
        self.gate_up = Linear(weights.gate_up, dtype=dtype)
        self.down = Linear(weights.down, dtype=dtype)
        self._none = torch.zeros(0, self.head_dim)
        self._gains = self._none if self.qk_gain is None else self.qk_gain
        self._floor = self.qk_norm.floor.numpy()[()]

    def forward(self, x: Tensor, rope: Tensor, step: Step, table: Tensor) -> None:
        """Add both halves of the block to the residual stream x (N, C), in place.

        Args:
            rope: cosines and sines of the positions (N, 2, 1, D).
            table: keys and values of this layer (2, slots, K, capacity, D).
        """
        qkv = self.qkv(self.norm(x)).view(len(x), -1, self.head_dim)  # (N, H + 2K, D)
        x += self.out(self._attend(qkv, rope, step, table))
        gate, up = self.gate_up(self.norm(x)).view(len(x), 2, -1).unbind(1)  # (N, F) each
        x += self.down(F.silu(gate).mul_(up))

    def _attend(self, qkv: Tensor, rope: Tensor, step: Step, table: Tensor) -> Tensor:
        """Attention of all sequences to what they hold: (N, H + 2K, D) -> (N, H D)."""
        out = qkv.new_empty(len(qkv), self.heads, self.head_dim)
        if self.on_cpu:
            self._attend_compiled(qkv, rope, step, table, out)
            return out.view(len(qkv), -1)
        n, values = step.singles, qkv[:, self.heads + self.kv_heads :]
        q, k = self._rotate(qkv, rope)
        if n:
            out[:n] = attend_gathered(q[:n], k[:n], values[:n], step, table)
        for piece in step.pieces:
            rows = slice(piece.first, piece.first + piece.tokens)
            out[rows] = self._attend_piece(piece, q[rows], k[rows], values[rows], table)
        return out.view(len(qkv), -1)

    def _attend_compiled(
        self, qkv: Tensor, rope: Tensor, step: Step, table: Tensor, out: Tensor
    ) -> None:
        arguments = (
            qkv.numpy(), self._none.numpy(), self._gains.numpy(), self._floor,
            rope[:, :, 0].numpy(), table.numpy(), *seen(step), out.numpy(),
        )  # fmt: skip
        worth = step.pieces or len(qkv) * step.longest >= WORTH_SHARING
        threads = torch.get_num_threads() if worth else 1
        together(lambda counters, me: kernels.attend(*arguments, counters, me, 0), 2, threads)

    def _rotate(self, qkv: Tensor, rope: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (N, H, D) and keys (N, K, D), normalised and turned."""
        cos, sin = rope.unbind(1)
        qk = qkv[:, : self.heads + self.kv_heads]
        if self.qk_gain is not None:
            qk = qk * (self.qk_gain / self.qk_norm.scale(qk))
        # airust.gpt.rope.rotate, with the halves swapped by roll.
        turned = torch.addcmul(qk * cos, qk.roll(self.head_dim // 2, -1), sin)
        return turned[:, : self.heads], turned[:, self.heads :]

    def _attend_piece(self, piece: Piece, q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
        """Store keys and values (T, K, D) of one piece, and attend: (T, H, D) -> (T, H, D)."""
        end = piece.start + piece.tokens
        held = table[:, piece.slot, :, :end]  # (2, K, S, D)
        held[0, :, piece.start :], held[1, :, piece.start :] = k.transpose(0, 1), v.transpose(0, 1)
        keys, values = (
            t.repeat_interleave(self.heads // self.kv_heads, dim=0)[None] for t in held
        )  # (1, H, S, D)
        mask = _chunk_mask(piece.tokens, end).to(q.device) if piece.start else None
        out = F.scaled_dot_product_attention(
            q.transpose(0, 1)[None], keys, values, mask, is_causal=mask is None
        )
        return out[0].transpose(0, 1)


def attend_gathered(q: Tensor, k: Tensor, v: Tensor, step: Step, table: Tensor) -> Tensor:
    """Attention of sequences with one new token each, in tensor operations for a GPU.

    No shape in here depends on what the sequences hold, so that the operations can be recorded
    as a CUDA graph. The keys and values of the step's slots are copied together for it.

    Args:
        q: (n, H, D).
        k, v: of the new tokens (n, K, D); stored in the table.
        table: keys and values of one layer (2, slots, K, capacity, D).
    """
    n, K, D = k.shape
    slots, positions = step.slots[:n, None], step.positions[:n, None]
    heads = torch.arange(K, device=k.device)
    table[0].index_put_((slots, heads, positions), k)
    table[1].index_put_((slots, heads, positions), v)
    keys, values = (t.index_select(0, step.slots[:n])[:, :, : step.longest] for t in table)
    visible = torch.arange(keys.shape[2], device=k.device) <= positions  # (n, S)
    # The H / K query heads of a group are as many queries to the same keys.
    grouped = F.scaled_dot_product_attention(
        q.reshape(n, K, -1, D), keys, values, visible[:, None, None]
    )
    return grouped.reshape(q.shape)


def _chunk_mask(new: int, total: int) -> Tensor:
    """Causal, for queries that are the last ``new`` of ``total`` positions.

    >>> _chunk_mask(2, 4)
    tensor([[0., 0., 0., -inf],
            [0., 0., 0., 0.]])
    """
    return torch.full((new, total), float("-inf")).triu(total - new + 1)
