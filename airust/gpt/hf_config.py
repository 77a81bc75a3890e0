"""``config.json`` of a Hugging Face folder: our config from it, and back.

transformers 5 keeps all about rotary positions in ``rope_parameters``; files of version 4, which
most models at the hub are, have ``rope_scaling`` beside a top-level ``rope_theta``,
``partial_rotary_factor`` and ``original_max_position_embeddings``. Both are read in the order of
precedence that transformers has, and both are written, because mistral.rs and candle read the
older form.
"""

from __future__ import annotations

from typing import Any

from airust.gpt.config import GPTConfig, RopeScaling
from airust.gpt.rope import longrope_attention_factor, yarn_attention_factor
from airust.types import UserError

CLASSES = {
    "qwen3": "Qwen3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "llama": "LlamaForCausalLM",
    "phi3": "Phi3ForCausalLM",
}
QWEN3_HEAD_DIM = 128  # of a Qwen3 config that does not say
PHI3_ORIGINAL_CONTEXT = 4096  # of a Phi-3 config that does not say
HAVE_ATTENTION_BIAS = ("llama", "qwen3")  # the others ignore the key


def config_from_hf(values: dict[str, Any]) -> GPTConfig:
    """Our config from config.json.

    Raises:
        UserError: the architecture or a feature of it is not one that this model covers.
    """
    family = values.get("model_type")
    if family not in CLASSES:
        raise UserError(
            f"The model type '{family}' is not supported; supported: {', '.join(CLASSES)}."
        )
    try:
        rope = _rope_parameters(values)
        _refuse_uncovered(values, rope)
        heads, hidden = values["num_attention_heads"], values["hidden_size"]
        usual_head_dim = QWEN3_HEAD_DIM if family == "qwen3" else hidden // heads
        four_biases = family in HAVE_ATTENTION_BIAS and bool(values.get("attention_bias"))
        return GPTConfig(
            vocab_size=values["vocab_size"],
            hidden_size=hidden,
            layers=values["num_hidden_layers"],
            heads=heads,
            kv_heads=values.get("num_key_value_heads") or heads,
            head_dim=values.get("head_dim") or usual_head_dim,
            ffn_size=values["intermediate_size"],
            context=values["max_position_embeddings"],
            rope_theta=rope["rope_theta"],
            rope_scaling=_scaling_from_hf(rope, values["max_position_embeddings"]),
            rotary_share=rope["partial_rotary_factor"],
            norm_eps=values["rms_norm_eps"],
            qk_norm=family == "qwen3",
            qkv_bias=family == "qwen2" or four_biases,
            out_bias=four_biases,
            fused=family == "phi3",
            tie_embeddings=values.get("tie_word_embeddings", False),
        )
    except KeyError as error:
        raise UserError(f"config.json lacks {error}.") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise UserError(f"config.json holds a value of the wrong kind: {error}.") from error


def _refuse_uncovered(values: dict[str, Any], rope: dict[str, Any]) -> None:
    """Refuse what would load and then answer wrongly."""
    act = values.get("hidden_act", "silu")
    quantised = values.get("quantization_config")
    slides = values["model_type"] == "phi3" or values.get("use_sliding_window")
    window = (values.get("sliding_window") if slides else None) or values["max_position_embeddings"]
    refused = (
        (quantised is not None, "Quantised weights are not supported; take the original model."),
        (bool(values.get("mlp_bias")), "Biases in the feed-forward layer are not supported."),
        (act != "silu", f"The activation '{act}' is not supported; only silu is."),
        (
            window < values["max_position_embeddings"],
            f"Sliding-window attention over {window} positions is not supported.",
        ),
        (
            any(isinstance(value, dict) for value in rope.values()),
            "Rotary parameters that differ from layer to layer are not supported.",
        ),
    )
    for wrong, sentence in refused:
        if wrong:
            raise UserError(sentence)


def _rope_parameters(values: dict[str, Any]) -> dict[str, Any]:
    """All about rotary positions in the form of transformers 5, what is left out filled in."""
    rope = dict(values.get("rope_scaling") or values.get("rope_parameters") or {})
    phi3 = values["model_type"] == "phi3"
    rope["rope_type"] = rope.get("rope_type") or rope.get("type") or "default"
    if phi3 and rope["rope_type"] in ("su", "yarn"):  # names that LongRoPE had at first
        rope["rope_type"] = "longrope"
    for name, usual in (("rope_theta", 10_000.0), ("partial_rotary_factor", 1.0)):
        found = (rope.get(name), values.get(name))
        rope[name] = next((value for value in found if value is not None), usual)
    original = values.get("original_max_position_embeddings")
    if phi3 and original is None:
        original = PHI3_ORIGINAL_CONTEXT
    if original is not None:  # the top level wins, unlike above
        rope["original_max_position_embeddings"] = original
    return rope


def _scaling_from_hf(rope: dict[str, Any], context: int) -> RopeScaling | None:
    kind = rope["rope_type"]
    if kind == "default":
        return None
    original = rope.get("original_max_position_embeddings") or context
    if kind == "linear":
        return RopeScaling("linear", rope["factor"])
    if kind == "llama3":
        return RopeScaling(
            "llama3",
            rope["factor"],
            original,
            low_freq_factor=rope["low_freq_factor"],
            high_freq_factor=rope["high_freq_factor"],
        )
    factor, strength = rope.get("factor") or context / original, rope.get("attention_factor")
    if kind == "yarn":
        if strength is None and rope.get("mscale") and rope.get("mscale_all_dim"):
            strength = yarn_attention_factor(factor, rope["mscale"])
            strength /= yarn_attention_factor(factor, rope["mscale_all_dim"])
        return RopeScaling(
            "yarn",
            factor,
            original,
            yarn_attention_factor(factor) if strength is None else strength,
            beta_slow=rope.get("beta_slow") or 1.0,
            beta_fast=rope.get("beta_fast") or 32.0,
            truncate=rope.get("truncate", True),
        )
    if strength is None and kind == "longrope":
        strength = longrope_attention_factor(factor, original)
    return RopeScaling(  # which refuses an unknown kind
        kind,
        factor,
        original,
        strength or 1.0,
        short_factors=tuple(rope.get("short_factor", ())),
        long_factors=tuple(rope.get("long_factor", ())),
    )


def hf_config(config: GPTConfig, eos_ids: list[int]) -> dict[str, Any]:
    """config.json as transformers 5, mistral.rs and candle read it.

    Args:
        eos_ids: tokens that end an answer; the first is the usual one, the last one pads too.
    """
    values: dict[str, Any] = {
        "architectures": [CLASSES[config.family]],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_size,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": config.out_bias,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "use_cache": True,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": config.layers,
        "torch_dtype": "float32",
        "dtype": "float32",
        "bos_token_id": None,
        "eos_token_id": eos_ids[0] if eos_ids else None,
        "pad_token_id": eos_ids[-1] if eos_ids else None,
    }
    return values | _rope_to_hf(config)


def _rope_to_hf(config: GPTConfig) -> dict[str, Any]:
    """The rotary part, in the form of transformers 5 and in the older one."""
    scaling = config.rope_scaling
    rope: dict[str, Any] = {"rope_type": "default"} if scaling is None else _scaling_to_hf(scaling)
    older: dict[str, Any] = {"rope_theta": config.rope_theta}
    if config.rotary_share != 1:
        older["partial_rotary_factor"] = config.rotary_share
    rope |= older
    if scaling is not None:
        older["rope_scaling"] = rope | {"type": scaling.kind}
        if scaling.kind == "longrope":
            older["original_max_position_embeddings"] = scaling.original_context
    return older | {"rope_parameters": rope}


def _scaling_to_hf(scaling: RopeScaling) -> dict[str, Any]:
    stretch = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "linear":
        return stretch
    stretch["original_max_position_embeddings"] = scaling.original_context
    if scaling.kind == "llama3":
        return stretch | _named(scaling, "low_freq_factor", "high_freq_factor")
    stretch["attention_factor"] = scaling.attention_factor
    if scaling.kind == "yarn":
        return stretch | _named(scaling, "beta_slow", "beta_fast", "truncate")
    return stretch | {
        "short_factor": list(scaling.short_factors),
        "long_factor": list(scaling.long_factors),
    }


def _named(scaling: RopeScaling, *names: str) -> dict[str, Any]:
    return {name: getattr(scaling, name) for name in names}
