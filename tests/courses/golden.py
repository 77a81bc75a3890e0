"""The model of p1-candle-engine's tests, and what airust.gpt computes with it.

``python -m tests.courses.golden`` writes them anew; a test holds that they are what this gives.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from airust.gpt.checkpoint import hf_name
from airust.gpt.config import GPTConfig
from airust.gpt.hf_config import hf_config
from airust.gpt.model import GPT

FOLDER = Path(__file__).resolve().parents[2] / "courses/ai-with-rust/p1-candle-engine/tests/data"
CONFIG = GPTConfig(
    vocab_size=40, hidden_size=16, layers=2, heads=4, kv_heads=2, head_dim=8, ffn_size=24,
    context=32,
)  # fmt: skip
IDS = (3, 1, 4, 1, 5, 9, 2, 6)


def golden_model() -> GPT:
    """Weights from a fixed seed, wide enough that a mistake shows."""
    model, dice = GPT(CONFIG), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.normal_(std=0.4, generator=dice)
            else:
                weight.uniform_(0.5, 1.5, generator=dice)
    return model


def golden_logits(model: GPT) -> list[list[float]]:
    """Logits behind each of IDS."""
    with torch.inference_mode():
        return [[round(x, 5) for x in row] for row in model(torch.tensor([IDS]))[0].tolist()]


def write(folder: Path) -> None:
    model = golden_model()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {hf_name(name): weight.detach() for name, weight in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    values = hf_config(CONFIG, [0])
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    expected = {"ids": list(IDS), "logits": golden_logits(model)}
    (folder / "expected.json").write_text(json.dumps(expected) + "\n", "utf-8")


if __name__ == "__main__":
    write(FOLDER)
