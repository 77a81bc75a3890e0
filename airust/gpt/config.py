"""The shape of a GPT.

One frozen dataclass covers four families of decoders, told apart by their flags:

==========  =========  ==========  ==========  =======
family      qk_norm    qkv_bias    out_bias    fused
==========  =========  ==========  ==========  =======
Qwen3       yes        as out      no or yes   no
Qwen2       no         yes         no          no
Llama       no         as out      no or yes   no
Phi-3       no         no          no          yes
==========  =========  ==========  ==========  =======

>>> GPTConfig(vocab_size=512, hidden_size=64, layers=2, heads=4, kv_heads=2, ffn_size=128).family
'qwen3'
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from airust.types import UserError

Family = Literal["qwen3", "qwen2", "llama", "phi3"]
RopeKind = Literal["linear", "llama3", "yarn", "longrope"]


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How rotary positions are stretched for a longer context; ``rope.py`` has the formulas.

    Raises:
        UserError: the kind is unknown, or it lacks a number.
    """

    kind: RopeKind
    factor: float = 1.0  # how many times longer the context becomes; longrope has its lists
    original_context: int = 1  # positions before that; linear does not ask
    attention_factor: float = 1.0  # on cosines and sines: yarn and longrope
    low_freq_factor: float = 1.0  # llama3: waves longer than original_context / this: stretched
    high_freq_factor: float = 4.0  # llama3: waves shorter than original_context / this: kept
    beta_slow: float = 1.0  # yarn: pairs with fewer turns in original_context are stretched
    beta_fast: float = 32.0  # yarn: pairs with more turns than this are kept
    truncate: bool = True  # yarn: both borders are moved outwards to a whole pair
    short_factors: tuple[float, ...] = ()  # longrope: of each pair, up to original_context
    long_factors: tuple[float, ...] = ()  # longrope: of each pair, in longer texts

    def __post_init__(self) -> None:
        if self.kind not in get_args(RopeKind):
            known = ", ".join(get_args(RopeKind))
            raise UserError(f"The rotary scaling '{self.kind}' is not supported; known: {known}.")
        lists = (*self.short_factors, *self.long_factors)
        lowest = min(
            self.factor, self.original_context, self.attention_factor, self.low_freq_factor,
            self.high_freq_factor, self.beta_slow, self.beta_fast, *lists,
        )  # fmt: skip
        if lowest <= 0:
            raise UserError(f"The rotary scaling has a {lowest} but its numbers must be above 0.")
        if self.low_freq_factor >= self.high_freq_factor:
            raise UserError(
                f"The rotary scaling's low_freq_factor ({self.low_freq_factor}) must be below "
                f"high_freq_factor ({self.high_freq_factor})."
            )


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
    rope_scaling: RopeScaling | None = None  # of a context that was stretched
    rotary_share: float = 1.0  # part of a head that is turned (Phi-4-mini: 0.75)
    norm_eps: float = 1e-6  # keeps RMSNorm from dividing by zero
    qk_norm: bool = True  # RMSNorm on queries and keys (Qwen3)
    qkv_bias: bool = False  # biases on the three projections (Qwen2)
    out_bias: bool = False  # a bias on attention's output too ("attention_bias")
    fused: bool = False  # files hold q, k, v as one matrix, gate and up as another (Phi-3)
    tie_embeddings: bool = True  # output projection shares the embedding's weight

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, bool | RopeScaling | None) and value <= 0:
                raise UserError(f"{field.name} is {value} but must be above 0.")
        if self.heads % self.kv_heads:
            raise UserError(
                f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})."
            )
        if self.head_dim % 2:
            raise UserError(
                f"head_dim is {self.head_dim} but rotary embedding needs an even number."
            )
        self._check_rope()
        self._check_flags()

    def _check_rope(self) -> None:
        if self.rotary_share > 1 or self.rotary_dim % 2 or not self.rotary_dim:
            raise UserError(
                f"rotary_share is {self.rotary_share}, which turns {self.rotary_dim} of "
                f"{self.head_dim} numbers of a head; it must be an even number of them."
            )
        scaling = self.rope_scaling
        if scaling is not None and scaling.kind == "longrope":
            for name in ("short_factors", "long_factors"):
                if (found := len(getattr(scaling, name))) != self.rotary_dim // 2:
                    raise UserError(
                        f"The rotary scaling has {found} {name.replace('_', ' ')} but a head has "
                        f"{self.rotary_dim // 2} pairs to turn."
                    )

    def _check_flags(self) -> None:
        """Refuse what no family's checkpoint can hold."""
        biases = self.qkv_bias, self.out_bias
        if biases == (False, True) or (self.qk_norm and biases == (True, False)):
            raise UserError("out_bias goes with qkv_bias; alone, no family has it.")
        if self.fused and (self.qk_norm or self.qkv_bias):
            raise UserError("A fused (Phi-3) model has neither qk_norm nor biases.")
        if self.fused and self.rope_scaling and self.rope_scaling.kind != "longrope":
            raise UserError("A fused (Phi-3) model knows no rotary scaling but longrope.")
        if self.rotary_share != 1 and not self.fused:
            raise UserError("Only a fused (Phi-3) model turns a part of each head.")

    @property
    def family(self) -> Family:
        """The Hugging Face architecture that these flags amount to."""
        if self.fused:
            return "phi3"
        if self.qk_norm:
            return "qwen3"
        return "qwen2" if self.qkv_bias and not self.out_bias else "llama"

    @property
    def rotary_dim(self) -> int:
        """How many of a head's D numbers are turned."""
        return int(self.head_dim * self.rotary_share)

    def rotary_start(self, length: int) -> int:
        """The row of the rotary table where a text of this length has its first position."""
        scaling = self.rope_scaling
        if scaling is None or scaling.kind != "longrope" or length <= scaling.original_context:
            return 0
        return scaling.original_context  # behind the rows of short texts

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
        scaling = values.get("rope_scaling")
        if isinstance(scaling, dict):  # as to_dict wrote it, perhaps through JSON
            lists = {name: tuple(v) for name, v in scaling.items() if isinstance(v, list | tuple)}
            values = values | {"rope_scaling": RopeScaling(**scaling | lists)}
        return cls(**values)
