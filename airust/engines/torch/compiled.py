"""A step as one compiled call, instead of a hundred tensor operations.

The weights lie in panels (``panels``), one array for each kind of matrix.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from airust.engines.torch import kernels
from airust.engines.torch.linear import quantise
from airust.engines.torch.pages import zeros_in_large_pages
from airust.engines.torch.panels import LANES, WIDTH, pack, panels_of
from airust.engines.torch.slots import SlotCache
from airust.engines.torch.steps import Step
from airust.engines.torch.team import together
from airust.engines.torch.weights import LayerWeights
from airust.gpt.config import GPTConfig

FEW = 32  # tokens; where a library has a copy of the weights, its products win with more
LARGEST = 2 << 30  # bytes of weights that may be held twice


def takes_all(dtype: torch.dtype) -> bool:
    """Whether this is the fastest way for steps of any size, so that no other is needed.

    Processors have instructions for bfloat16 that only libraries use; and where vectors are short,
    libraries know more than vectors.
    """
    return dtype in (torch.float32, torch.int8) and LANES > 4


class CompiledSteps:
    """All weights of a model, stacked by kind.

    Args:
        dtype: of the weights: float32, bfloat16 or int8.
    """

    @staticmethod
    def fits(config: GPTConfig, dtype: torch.dtype) -> bool:
        """Whether it can be used: the weights are held once, or are small enough to be twice."""
        numbers = sum(layers * rows * columns for layers, rows, columns in _shapes(config))
        return dtype in STORED and (takes_all(dtype) or numbers * dtype.itemsize <= LARGEST)

    def __init__(self, config: GPTConfig, dtype: torch.dtype) -> None:
        self.config, self.dtype = config, dtype
        shapes = _shapes(config)
        self._panels = tuple(
            zeros_in_large_pages((n, panels_of(rows), columns, WIDTH), STORED[dtype])
            for n, rows, columns in shapes
        )
        scaled = dtype == torch.int8
        self._scales = tuple(torch.empty(n, rows if scaled else 0) for n, rows, _ in shapes)
        L, C, D = config.layers, config.hidden_size, config.head_dim
        projected = config.heads + 2 * config.kv_heads
        self._biases = np.zeros((L, projected if config.qkv_bias else 0, D), np.float32)
        self._out_biases = np.zeros((L, C if config.out_bias else 0), np.float32)
        turned = config.heads + config.kv_heads if config.qk_norm else 0
        self._gains = np.zeros((L, turned, D), np.float32)
        self._floors = np.array([(size * config.norm_eps) ** 0.5 for size in (C, D)], np.float32)
        self._weights = tuple(panels.numpy() for panels in self._panels)
        self._factors = tuple(scale.numpy() for scale in self._scales)

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
                ours[layer] = theirs.float().view(ours[layer].shape).numpy()

    def put_head(self, matrix: Tensor) -> None:
        """Take over the output projection (V, C)."""
        self._put(len(self._panels) - 1, 0, matrix)

    def _put(self, kind: int, layer: int, matrix: Tensor) -> None:
        if self.dtype == torch.int8:
            matrix, self._scales[kind][layer] = quantise(matrix)
        matrix = matrix.to(self.dtype)
        if self.dtype == torch.bfloat16:
            matrix = matrix.view(torch.uint16)
        pack(matrix, self._panels[kind][layer])

    def takes(self, step: Step) -> bool:
        """Whether it is the fastest for a step."""
        return takes_all(self.dtype) or len(step.tokens) <= FEW

    def forward(
        self, step: Step, cache: SlotCache, x: Tensor, rope: Tensor, threads: int
    ) -> Tensor:
        """Run one step, storing its keys and values: logits (outputs, V) in float32.

        Args:
            x: embeddings of the new tokens (N, C); changed.
            rope: cosines and sines of their positions (N, 2, 1, D).
            threads: that share the work.
        """
        config, N = self.config, len(x)
        H, D, F = config.heads, config.head_dim, config.ffn_size
        outputs = np.arange(N) if step.outputs is None else step.outputs.numpy()
        logits = torch.empty(len(outputs), config.vocab_size)
        buffers = (
            np.empty((N, config.hidden_size), np.float32),
            np.empty((N, H + 2 * config.kv_heads, D), np.float32),
            np.empty((N, H, D), np.float32),
            np.empty((N, 2 * F), np.float32),
            np.empty((N, F), np.float32),
            logits.numpy(),
        )
        arguments = (
            self._weights, self._factors, self._biases, self._out_biases, self._gains,
            self._floors, cache.table.numpy(), *seen(step), outputs, rope[:, :, 0].numpy(),
            x.numpy(), buffers,
        )  # fmt: skip
        phases = kernels.LAYER_PHASES * config.layers + kernels.LAST_PHASES
        together(lambda counters, me: kernels.run(*arguments, counters, me), phases, threads)
        return logits


def seen(step: Step) -> tuple[np.ndarray, np.ndarray, int, np.ndarray, int]:
    """Which positions a step's tokens attend to, as ``kernels.attend`` wants to know it."""
    blocks, longest = [], step.longest
    for piece in step.pieces:
        longest = max(longest, piece.start + piece.tokens)
        # The last ones see most; they are begun first.
        for start in reversed(range(0, piece.tokens, kernels.QUERIES)):
            rows = min(kernels.QUERIES, piece.tokens - start)
            blocks.append((piece.first + start, rows))
    pairs = np.array(blocks, np.int64).reshape(-1, 2)
    return step.slots.numpy(), step.positions.numpy(), step.singles, pairs, longest


# What the weights are stored as; NumPy has no bfloat16, so these are its bits.
STORED = {torch.float32: torch.float32, torch.bfloat16: torch.uint16, torch.int8: torch.int8}


def _shapes(config: GPTConfig) -> tuple[tuple[int, int, int], ...]:
    """Layers, rows and columns of qkv, out, gate and up, down, head."""
    L, C, F = config.layers, config.hidden_size, config.ffn_size
    attention = config.heads * config.head_dim
    qkv = attention + 2 * config.kv_heads * config.head_dim
    return (L, qkv, C), (L, C, attention), (L, 2 * F, C), (L, C, F), (1, config.vocab_size, C)
