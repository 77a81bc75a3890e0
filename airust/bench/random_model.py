"""Random checkpoints in the Qwen3 form, for sizes that nobody trained here.

Speed does not depend on what the weights say, so that a benchmark needs no trained model. It does
need answers that can be compared: the weights are drawn wide, so that the likeliest tokens lie
far apart and engines that compute the same function choose the same tokens. The tokenizer is
trained on the embedded corpus, which the prompts are cut from.

The same name makes the same weights, in ``runs/random-NAME``, once.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from airust.gpt.config import GPTConfig
from airust.types import UserError

RUNS, PREFIX = Path("runs"), "random-"
# vocab_size is a wish; the tokenizer's size replaces it.
RANDOM = {
    "qwen3-1m": GPTConfig(
        vocab_size=4096, hidden_size=128, layers=2, heads=4, kv_heads=2, head_dim=32,
        ffn_size=384, context=1024,
    ),
    "qwen3-100m": GPTConfig(
        vocab_size=16384, hidden_size=768, layers=12, heads=12, kv_heads=6, head_dim=64,
        ffn_size=2304, context=1024,
    ),
}  # fmt: skip


def random_model(name: str, runs: Path = RUNS) -> Path:
    """The folder of a random model, made if it is not there.

    Raises:
        UserError: there is no such model, or the folder cannot be written.
    """
    if name not in RANDOM:
        raise UserError(f"There is no random model '{name}'; known: {', '.join(RANDOM)}.")
    folder = runs / f"{PREFIX}{name}"
    if not (folder / "chat_template.jinja").is_file():  # written last
        make_random(RANDOM[name], folder)
    return folder


def random_name(folder: str | Path) -> str | None:
    """The name that makes this folder; None where no name does.

    >>> random_name("runs/random-qwen3-100m"), random_name("runs/tiny")
    ('qwen3-100m', None)
    """
    path = Path(folder)
    name = path.name.removeprefix(PREFIX)
    return name if name in RANDOM and path == RUNS / f"{PREFIX}{name}" else None


def make_random(config: GPTConfig, folder: Path, seed: int = 0) -> None:
    """Write a model folder with random weights."""
    import torch

    from airust.bench.workload import sentences
    from airust.gpt.checkpoint import save_model
    from airust.gpt.model import GPT
    from airust.gpt.tokenizer import train_bpe

    tokenizer = train_bpe(sentences(), config.vocab_size)
    model = GPT(replace(config, vocab_size=tokenizer.vocab_size))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight.normal_(std=_std(name, weight.shape[1]), generator=generator)
    save_model(model, tokenizer, folder)


def _std(name: str, inputs: int) -> float:
    """The blocks outweigh the embedding, or a model with tied embeddings repeats its input."""
    if "embed" in name:
        return 0.3
    gain = 6.0 if name.split(".")[-2] in ("o_proj", "down_proj") else 1.5
    return gain / math.sqrt(inputs)
