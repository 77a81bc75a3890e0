"""The shape of a GPT.

One frozen dataclass covers three families of decoders, told apart by two flags:

==========  =========  ==========
family      qk_norm    qkv_bias
==========  =========  ==========
Qwen3       yes        no
Qwen2       no         yes
Llama       no         no
==========  =========  ==========

>>> GPTConfig(vocab_size=512, hidden_size=64, layers=2, heads=4, kv_heads=2, ffn_size=128).family
'qwen3'
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from airust.types import UserError

Family = Literal["qwen3", "qwen2", "llama"]


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """Sizes and flags of the model.

    Raises:
        UserError: a size does not fit with another.
    """

    vocab_size: int  # V: rows of the embedding
    hidden_size: int = 256  # C: width of the residual stream
    layers: int = 4  # blocks
    heads: int = 4  # H: query heads
    kv_heads: int = 4  # K: key and value heads; fewer than H is grouped-query attention
    head_dim: int = 64  # D: width of a head; H * D need not be C
    ffn_size: int = 768  # F: width inside the feed-forward layer
    context: int = 256  # T at most: positions the model is trained for
    rope_theta: float = 10_000.0  # base of the rotary wavelengths
    norm_eps: float = 1e-6  # keeps RMSNorm from dividing by zero
    qk_norm: bool = True  # RMSNorm on queries and keys (Qwen3)
    qkv_bias: bool = False  # biases on the three projections (Qwen2)
    tie_embeddings: bool = True  # output projection shares the embedding's weight

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, bool) and value <= 0:
                raise UserError(f"{field.name} is {value} but must be above 0.")
        if self.heads % self.kv_heads:
            raise UserError(
                f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})."
            )
        if self.head_dim % 2:
            raise UserError(
                f"head_dim is {self.head_dim} but rotary embedding needs an even number."
            )

    @property
    def family(self) -> Family:
        """The Hugging Face architecture that these flags amount to."""
        if self.qk_norm:
            return "qwen3"
        return "qwen2" if self.qkv_bias else "llama"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GPTConfig:
        """The inverse of ``to_dict``.

        Raises:
            UserError: a key is unknown or vocab_size is missing.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(
                f"Unknown model setting '{unknown[0]}'; known: {', '.join(sorted(known))}."
            )
        if "vocab_size" not in values:
            raise UserError("The model settings lack vocab_size.")
        return cls(**values)
