"""Token embedding: a table with one learned vector for each token of the vocabulary."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from airust.gpt.config import GPTConfig


class TokenEmbedding(nn.Embedding):
    """Look up the row of each token id.

    Position is not added here: rotary embedding turns queries and keys inside attention.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config.vocab_size, config.hidden_size)

    def forward(self, token_ids: Tensor) -> Tensor:  # (B, T) -> (B, T, C)
        return F.embedding(token_ids, self.weight)
