"""Shapes that fit together, and what real models' config files amount to."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from airust.gpt.config import GPTConfig, RopeScaling
from airust.gpt.hf_config import config_from_hf
from airust.gpt.model import GPT
from airust.types import UserError

LONGROPE = RopeScaling(
    "longrope", original_context=64, short_factors=(1.0,) * 32, long_factors=(2.0,) * 32
)
QWEN = {  # Qwen/Qwen2.5-0.5B-Instruct, what matters of its config.json
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
PHI = {  # microsoft/Phi-3.5-mini-instruct, with other factors
    "model_type": "phi3",
    "attention_bias": False,
    "hidden_act": "silu",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "long_factor": [1.0 + i for i in range(48)],
        "short_factor": [1.0] * 48,
        "type": "longrope",
    },
    "rope_theta": 10000.0,
    "sliding_window": 262144,
    "tie_word_embeddings": False,
    "vocab_size": 32064,
}


@pytest.mark.parametrize(("values", "parameters"), [(QWEN, 494_032_768), (PHI, 3_821_079_552)])
def test_real_models_have_their_real_size(values: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        assert GPT(config_from_hf(values)).parameter_count() == parameters


def test_phi_turns_long_texts_otherwise() -> None:
    config = config_from_hf(PHI)
    assert config.family == "phi3"
    assert [config.rotary_start(n) for n in (1, 4096, 4097, 131072)] == [0, 0, 4096, 4096]
    assert config.rope_scaling is not None
    assert config.rope_scaling.attention_factor == pytest.approx(1.1902380714)


BAD: dict[str, dict[str, Any]] = {
    "layers is 0": {"layers": 0},
    r"heads \(3\) must be a multiple": {"heads": 3, "kv_heads": 2},
    "head_dim is 63": {"head_dim": 63},
    "out_bias goes with qkv_bias": {"out_bias": True},
    "goes with qkv_bias; alone": {"qkv_bias": True},
    "neither qk_norm nor biases": {"fused": True},
    "no rotary scaling but longrope": {
        "fused": True, "qk_norm": False, "rope_scaling": RopeScaling("linear", 2.0),
    },
    "Only a fused": {"rotary_share": 0.5},
    "turns 65 of 64": {"rotary_share": 1.02, "fused": True, "qk_norm": False},
    "turns 63 of 64": {"rotary_share": 0.99, "fused": True, "qk_norm": False},
    "turns 0 of 64": {"rotary_share": 0.01, "fused": True, "qk_norm": False},
    "32 short factors but a head has 16": {"head_dim": 32, "rope_scaling": LONGROPE},
}  # fmt: skip


@pytest.mark.parametrize("words", BAD)
def test_shapes_that_do_not_fit(words: str) -> None:
    with pytest.raises(UserError, match=words):
        GPTConfig(vocab_size=9, **BAD[words])


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"kind": "dynamic"}, "'dynamic' is not supported; known: linear, llama3, yarn, longrope"),
        ({"kind": "linear", "factor": 0}, "has a 0 but"),
        ({"kind": "longrope", "long_factors": (1.0, -2.0)}, r"has a -2\.0 but"),
        ({"kind": "llama3", "low_freq_factor": 4.0}, "must be below"),
    ],
)
def test_scalings_that_make_no_sense(numbers: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        RopeScaling(**numbers)


@pytest.mark.parametrize("scaling", [None, LONGROPE, RopeScaling("llama3", 8.0, 32)])
def test_through_json(scaling: RopeScaling | None) -> None:
    config = GPTConfig(vocab_size=9, rope_scaling=scaling)
    assert GPTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
