"""A decode step of a few sequences as one compiled call, instead of a hundred tensor operations.

With a few rows a matrix product mostly reads its weights, row by row, and a compiled loop does that
as fast as any library; what it saves is the start of every operation in between.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from airust.engines.torch import kernels
from airust.engines.torch.linear import quantise
from airust.engines.torch.slots import SlotCache
from airust.engines.torch.steps import Step
from airust.engines.torch.weights import LayerWeights
from airust.gpt.config import GPTConfig

FEW = 16  # sequences; with more, a library's matrix product wins
LARGEST = 2 << 30  # bytes of weights; the loops need them in a layout of their own, a second copy


class FewSequences:
    """All weights of a model, stacked by kind.

    Args:
        dtype: of the weights: float32, bfloat16 or int8.
    """

    @staticmethod
    def fits(config: GPTConfig, dtype: torch.dtype) -> bool:
        """Whether a second copy of the weights is small enough."""
        shapes = _shapes(config)
        numbers = sum(layers * rows * columns for layers, rows, columns in shapes)
        return dtype in STORED and numbers * dtype.itemsize <= LARGEST

    def __init__(self, config: GPTConfig, dtype: torch.dtype) -> None:
        self.config, self.dtype = config, dtype
        shapes, stored = _shapes(config), STORED[dtype]
        self._weights = tuple(np.empty(shape, stored) for shape in shapes)
        scaled = dtype == torch.int8
        self._scales = tuple(
            np.empty((n, rows if scaled else 0), np.float32) for n, rows, _ in shapes
        )
        L, (_, qkv_rows, C) = config.layers, shapes[0]
        self._biases = np.zeros((L, qkv_rows if config.qkv_bias else 0), np.float32)
        self._out_biases = np.zeros((L, C if config.out_bias else 0), np.float32)
        turned = config.heads + config.kv_heads if config.qk_norm else 0
        self._gains = np.zeros((L, turned, config.head_dim), np.float32)
        self._floors = np.array(
            [(size * config.norm_eps) ** 0.5 for size in (C, config.head_dim)], np.float32
        )

    def put(self, layer: int, weights: LayerWeights) -> None:
        """Take over one block."""
        matrices = (weights.qkv, weights.out, weights.gate_up, weights.down)
        for kind, matrix in enumerate(matrices):
            self._put(kind, layer, matrix)
        for ours, theirs in (
            (self._biases, weights.qkv_bias),
            (self._out_biases, weights.out_bias),
            (self._gains, weights.qk_gain),
        ):
            if theirs is not None:
                ours[layer] = theirs.float().numpy()

    def put_head(self, matrix: Tensor) -> None:
        """Take over the output projection (V, C)."""
        self._put(len(self._weights) - 1, 0, matrix)

    def _put(self, kind: int, layer: int, matrix: Tensor) -> None:
        if self.dtype == torch.int8:
            matrix, scale = quantise(matrix)
            self._scales[kind][layer] = scale.numpy()
        matrix = matrix.to(self.dtype)
        if self.dtype == torch.bfloat16:
            matrix = matrix.view(torch.uint16)
        self._weights[kind][layer] = matrix.numpy()

    def forward(self, step: Step, cache: SlotCache, x: Tensor, rope: Tensor) -> Tensor:
        """Run one step, storing its keys and values: logits (N, V) in float32.

        Args:
            x: embeddings of the new tokens (N, C).
            rope: cosines and sines of their positions (N, 2, 1, D).
        """
        config, N = self.config, len(x)
        H, D, F = config.heads, config.head_dim, config.ffn_size
        logits = torch.empty(N, config.vocab_size)
        buffers = (
            np.empty((N, config.hidden_size), np.float32),
            np.empty((N, H + 2 * config.kv_heads, D), np.float32),
            np.empty((N, H, D), np.float32),
            np.empty((N, 2 * F), np.float32),
            np.empty((N, F), np.float32),
            np.empty(step.longest, np.float32),
            logits.numpy(),
        )
        kernels.decode(
            self._weights, self._scales, self._biases, self._out_biases,
            self._gains, self._floors, cache.table.numpy(), step.slots.numpy(),
            step.positions.numpy(), rope[:, :, 0].numpy(), x.numpy(), buffers,
        )  # fmt: skip
        return logits


STORED: dict[torch.dtype, type[np.generic]] = {
    torch.float32: np.float32,
    torch.bfloat16: np.uint16,  # its bits; NumPy has no such type
    torch.int8: np.int8,
}


def _shapes(config: GPTConfig) -> tuple[tuple[int, int, int], ...]:
    """Layers, rows and columns of qkv, out, gate and up, down, head."""
    L, C, F = config.layers, config.hidden_size, config.ffn_size
    attention = config.heads * config.head_dim
    qkv = attention + 2 * config.kv_heads * config.head_dim
    return (L, qkv, C), (L, C, attention), (L, 2 * F, C), (L, C, F), (1, config.vocab_size, C)
