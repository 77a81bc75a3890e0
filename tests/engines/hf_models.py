"""Small random models of every family, made by transformers' own classes.

Their shapes are odd on purpose, and their weights are spread out, so that a wrong layer, a wrong
order of rows or a wrong angle shows in the logits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

VOCAB = 513  # odd, and above what the tokenizers of hf_tokenizers.py need
ORIGINAL = 32  # positions of a context that was stretched
CONTEXT = 128

CLASSES: dict[str, tuple[Any, Any]] = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "phi3": (transformers.Phi3Config, transformers.Phi3ForCausalLM),
}
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def rope(kind: str, theta: float = 10_000.0, **numbers: Any) -> dict[str, Any]:
    """The entry ``rope_parameters`` of a config."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **numbers}}


def longrope(pairs: int, **numbers: Any) -> dict[str, Any]:
    """LongRoPE with factors that differ clearly between short and long texts."""
    short = [1 + 0.05 * i for i in range(pairs)]
    long = [1.5 + 0.9 * i for i in range(pairs)]
    found = rope("longrope", short_factor=short, long_factor=long, **numbers)
    return found | {"original_max_position_embeddings": ORIGINAL}


LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
STRETCHED = {"factor": 4.0, "original_max_position_embeddings": ORIGINAL}

# Name: family and what differs from SIZES.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", rope("default", 5_000.0)),
    "llama tied": ("llama", {"tie_word_embeddings": True, "head_dim": 20}),
    "llama bias": ("llama", {"attention_bias": True, "num_key_value_heads": 1}),
    "llama linear": ("llama", rope("linear", factor=4.0)),
    "llama 3": ("llama", rope("llama3", 500.0, **STRETCHED, **LLAMA3)),
    "llama yarn": ("llama", rope("yarn", **STRETCHED)),
    "qwen2": ("qwen2", {"tie_word_embeddings": True, "num_attention_heads": 6, "hidden_size": 60}),
    "qwen2 yarn": (
        "qwen2",
        rope("yarn", 1_000.0, **STRETCHED, beta_fast=8.0, beta_slow=2.0, truncate=False),
    ),
    "qwen3": (
        "qwen3",
        {"head_dim": 20, "num_key_value_heads": 1, "tie_word_embeddings": True},
    ),
    "qwen3 bias": ("qwen3", {"head_dim": 8, "attention_bias": True}),
    "qwen3 yarn": ("qwen3", rope("yarn", **STRETCHED, mscale=1.5, mscale_all_dim=0.5)),
    "phi3": ("phi3", {"sliding_window": CONTEXT}),
    "phi3 longrope": ("phi3", longrope(6) | {"sliding_window": 2 * CONTEXT}),
    "phi3 partial": (
        "phi3",
        longrope(6, partial_rotary_factor=0.75, attention_factor=1.3)
        | {"hidden_size": 64, "tie_word_embeddings": True},
    ),
    "llama longrope": ("llama", longrope(6, factor=3.0)),
}


def make(name: str, **changes: Any) -> Any:
    """The model; its biases and norms are moved away from where they start."""
    family, differs = MODELS[name]
    make_config, make_model = CLASSES[family]
    if family == "qwen3":
        differs = {"head_dim": 12} | differs
    torch.manual_seed(5)
    model = make_model(make_config(**json.loads(json.dumps(SIZES | differs | changes)))).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "norm" in parameter_name or parameter_name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def logits(model: Any, ids: list[int]) -> Tensor:
    """The logits (T, V) of a text by itself, in one pass without a cache."""
    with torch.inference_mode():
        found: Tensor = model(torch.tensor([ids]), use_cache=False).logits[0].float()
    return found


def logprobs(model: Any, ids: list[int]) -> Tensor:
    """What follows the last of these ids: (V)."""
    return logits(model, ids)[-1].log_softmax(-1)


def as_version_4(folder: Path) -> None:
    """Rewrite config.json as transformers 4 wrote it, which most models at the hub have."""
    path = folder / "config.json"
    values = json.loads(path.read_text("utf-8"))
    scaling = values.pop("rope_parameters")
    for key in ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings"):
        found = scaling.pop(key, None)
        # Outside Phi-3 the original context was part of the scaling.
        inside = key.startswith("original") and values["model_type"] != "phi3"
        if found is not None:
            (scaling if inside else values)[key] = found
    scaling["type"] = scaling.pop("rope_type")
    values["rope_scaling"] = None if scaling["type"] == "default" else scaling
    values["torch_dtype"] = values.pop("dtype")
    path.write_text(json.dumps(values), "utf-8")
