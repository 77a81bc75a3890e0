"""Keys and values of the positions that have been computed.

Attention at position t needs the keys and values of all positions up to t, and those of earlier
positions never change. Keeping them turns the work for a new token from a pass over the whole
text into a pass over one position (Pope et al. 2022, Efficiently Scaling Transformer Inference,
section 2). The price is memory: 2 * layers * K * D numbers a position.

>>> config = GPTConfig(vocab_size=100, layers=2, kv_heads=2, head_dim=64, context=32)
>>> KVCache(config).nbytes  # 2 * 2 layers * 2 heads * 64 numbers * 4 bytes * 32 positions
65536
"""

from __future__ import annotations

import torch
from torch import Tensor

from airust.gpt.config import GPTConfig
from airust.types import ContextOverflowError


class KVCache:
    """Room for sequences of the same length, allocated once.

    Args:
        batch: sequences at most.
        capacity: positions at most; the model's context if not given.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch: int = 1,
        capacity: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        self.layers = config.layers
        self.capacity = min(capacity or config.context, config.context)
        shape = (config.layers, batch, config.kv_heads, self.capacity, config.head_dim)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self._length = 0

    @property
    def length(self) -> int:
        """Positions already held."""
        return self._length

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return self.keys.nbytes + self.values.nbytes

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, K, T, D) of one layer and return all of its keys and values so far.

        Raises:
            ContextOverflowError: the new positions go beyond the capacity.
        """
        B, _, T, _ = keys.shape
        start, end = self._length, self._length + T
        if end > self.capacity:
            raise ContextOverflowError(
                f"{end} tokens do not fit into a cache of {self.capacity} positions."
            )
        self.keys[layer, :B, :, start:end] = keys
        self.values[layer, :B, :, start:end] = values
        if layer == self.layers - 1:
            self._length = end  # only now, as every layer appends at the same place
        return self.keys[layer, :B, :, :end], self.values[layer, :B, :, :end]

    def truncate(self, length: int) -> None:
        """Forget the positions from ``length`` on."""
        self._length = min(self._length, length)

    def select(self, rows: Tensor) -> None:
        """Let sequence i go on from what sequence rows[i] holds; a beam search does this."""
        used = slice(0, self._length)
        self.keys[:, : len(rows), :, used] = self.keys[:, rows, :, used]
        self.values[:, : len(rows), :, used] = self.values[:, rows, :, used]
