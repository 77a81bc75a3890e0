"""The output projection: from a position's vector to one score (logit) for each token.

With tied embeddings (Press and Wolf 2017) the score of a token is the dot product of the vector
with that token's own embedding.
"""

from __future__ import annotations

from torch import Tensor, nn

from airust.gpt.config import GPTConfig


class OutputProjection(nn.Linear):
    """Logits over the vocabulary: (..., C) -> (..., V)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config.hidden_size, config.vocab_size, bias=False)

    def tie(self, embedding: nn.Embedding) -> None:
        """Share the embedding's weight instead of learning a second table."""
        self.weight = embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x)
        return logits
