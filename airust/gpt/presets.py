"""Ready settings for a training run.

==================  ==========  =============================================================
preset              parameters  what for
==================  ==========  =============================================================
smoke               0.14 M      tests: seconds
tiny                2.1 M       the embedded corpus, minutes on two CPU cores
small               32 M        own data, hours on a CPU or minutes on a GPU
medium              101 M       own data, a GPU
shakespeare-char    0.92 M      nanoGPT's CPU set-up, for comparison
==================  ==========  =============================================================

Counted with the vocabulary that a preset asks for; data with fewer tokens makes a smaller model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from airust.gpt.config import GPTConfig
from airust.gpt.optimizer import OptimizerConfig
from airust.types import UserError


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that decides what a run learns; with the same data and seed it is the run.

    Raises:
        UserError: a value is out of range.
    """

    preset: str  # the name these settings started from
    model: GPTConfig  # vocab_size is the tokenizer's wish; the tokenizer's size replaces it
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    tokenizer: Literal["bpe", "character"] = "bpe"
    steps: int = 1000  # optimiser steps
    rows: int = 32  # rows of a global batch, over all processes and accumulation steps
    length: int = 64  # tokens a row; at most the model's context
    accumulate: int = 1  # micro-batches that a process adds up before a step
    stages: Literal["mixed", "two-stage"] = "mixed"  # of the embedded corpus
    validation: float = 0.0  # share of the data, at its end, kept for the validation loss
    validate_every: int = 0  # steps; 0 = never
    validation_batches: int = 20  # batches for one validation loss
    checkpoint_every_s: float = 30.0  # seconds between checkpoints
    exam_every: int = 1  # of the embedded corpus's exam, ask every n-th question
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "rows", "length", "accumulate"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)} but must be at least 1.")
        if self.length > self.model.context:
            raise UserError(
                f"length is {self.length} but the model's context is {self.model.context}."
            )
        if self.rows % self.accumulate:
            raise UserError(
                f"rows ({self.rows}) must be a multiple of accumulate ({self.accumulate})."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


PRESETS: dict[str, TrainConfig] = {
    "smoke": TrainConfig(
        "smoke",
        GPTConfig(
            vocab_size=512,
            hidden_size=64,
            layers=2,
            heads=2,
            kv_heads=2,
            head_dim=32,
            ffn_size=192,
            context=256,
        ),
        OptimizerConfig(warmup=5),
        steps=20,
        rows=8,
        exam_every=50,
    ),
    "tiny": TrainConfig(
        "tiny",
        GPTConfig(
            vocab_size=4096,
            hidden_size=192,
            layers=3,
            heads=3,
            kv_heads=3,
            head_dim=64,
            ffn_size=512,
            context=256,
        ),
        steps=1350,
    ),
    "small": TrainConfig(
        "small",
        GPTConfig(
            vocab_size=16384,
            hidden_size=512,
            layers=8,
            heads=8,
            kv_heads=4,
            head_dim=64,
            ffn_size=1408,
            context=512,
        ),
        OptimizerConfig(lr=0.002, matrix_lr=0.01, warmup=200),
        steps=5000,
        rows=32,
        length=512,
        validation=0.02,
        validate_every=250,
        checkpoint_every_s=300,
    ),
    "medium": TrainConfig(
        "medium",
        GPTConfig(
            vocab_size=32768,
            hidden_size=768,
            layers=12,
            heads=12,
            kv_heads=4,
            head_dim=64,
            ffn_size=2048,
            context=1024,
        ),
        OptimizerConfig(lr=0.001, matrix_lr=0.01, warmup=500),
        steps=20_000,
        rows=256,
        length=1024,
        accumulate=8,
        validation=0.01,
        validate_every=500,
        checkpoint_every_s=600,
    ),
    "shakespeare-char": TrainConfig(
        "shakespeare-char",
        GPTConfig(
            vocab_size=512,
            hidden_size=128,
            layers=4,
            heads=4,
            kv_heads=4,
            head_dim=32,
            ffn_size=384,
            context=64,
        ),
        OptimizerConfig(lr=0.02, matrix_lr=0.03, momentum=0.8, warmup=10, decay=1.0),
        tokenizer="character",
        steps=210,
        rows=12,
        length=64,
        validation=0.1,
        validate_every=70,
        validation_batches=1,
    ),
}


def preset(name: str, **changes: Any) -> TrainConfig:
    """A preset with some of its settings changed.

    Raises:
        UserError: the preset or a setting is unknown.
    """
    if name not in PRESETS:
        raise UserError(f"The preset '{name}' is unknown; known: {', '.join(PRESETS)}.")
    try:
        return replace(PRESETS[name], **changes)
    except TypeError as error:
        raise UserError(f"A training setting is unknown: {error}.") from error
