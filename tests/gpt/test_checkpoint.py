"""Hugging Face folders: equal to transformers, whole after a crash, clear when broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from airust.files import write_json
from airust.gpt.checkpoint import (
    config_from_hf,
    load_model,
    read_config,
    save_model,
    weight_files,
)
from airust.gpt.config import GPTConfig
from airust.gpt.model import GPT
from airust.gpt.tokenizer import Tokenizer, train_bpe
from airust.types import UserError

SMALL: dict[str, Any] = {
    "vocab_size": 131,  # odd on purpose
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 5_000.0},
    "initializer_range": 0.2,  # spread out, so that a wrong layer shows
}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "head_dim unlike hidden / heads": {"head_dim": 20},
    "one kv head": {"num_key_value_heads": 1},
    "untied head": {"tie_word_embeddings": False},
    "all heads": {"num_key_value_heads": 4, "rms_norm_eps": 1e-5},
}


def reference(family: str, **changes: Any) -> Any:
    """A random model of transformers, biases and norms moved away from where they start."""
    classes = {
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    }
    make_config, make_model = classes[family]
    torch.manual_seed(5)
    model = make_model(make_config(**(SMALL | changes))).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def assert_same_logits(theirs: Any, ours: GPT, atol: float = 1e-4) -> None:
    ids = torch.randint(0, ours.config.vocab_size, (2, 33), generator=torch.manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=atol, rtol=0)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(["the capital of France is Paris"], vocab_size=270)


@pytest.fixture()
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    save_model(small_model(tokenizer), tokenizer, tmp_path / "model")
    return tmp_path / "model"


def small_model(tokenizer: Tokenizer, **changes: Any) -> GPT:
    sizes: dict[str, Any] = {"hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1}
    sizes |= {"head_dim": 16, "ffn_size": 64, "context": 64} | changes
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama"])
def test_logits_equal_those_of_transformers(family: str, shape: str, tmp_path: Path) -> None:
    theirs = reference(family, **SHAPES[shape])
    theirs.save_pretrained(tmp_path)
    assert_same_logits(theirs, load_model(tmp_path))


def test_sharded_weights(tmp_path: Path) -> None:
    theirs = reference("qwen3")
    theirs.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(weight_files(tmp_path)) > 2
    assert_same_logits(theirs, load_model(tmp_path))


def test_bf16_weights_are_read_into_float32(tmp_path: Path) -> None:
    reference("qwen2").to(torch.bfloat16).save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ours = load_model(tmp_path)
    assert ours.embed_tokens.weight.dtype == torch.float32
    assert_same_logits(theirs.eval(), ours)


def test_a_head_stored_although_it_is_tied(tmp_path: Path) -> None:
    theirs = reference("llama")
    theirs.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert_same_logits(theirs, load_model(tmp_path))


def test_a_config_of_transformers_4(tmp_path: Path) -> None:
    theirs = reference("qwen2")
    theirs.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["rope_parameters"]
    values |= {"rope_theta": 5_000.0, "rope_scaling": None}
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert_same_logits(theirs, load_model(tmp_path))


@pytest.mark.parametrize("flags", [{}, {"qk_norm": False, "qkv_bias": True}, {"qk_norm": False}])
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_reads_what_we_write(
    flags: dict[str, bool], tied: bool, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = small_model(tokenizer, tie_embeddings=tied, head_dim=24, **flags)
    save_model(model, tokenizer, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert_same_logits(theirs, model)
    theirs_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "The capital 首都\n\n 🦀"
    assert theirs_tokenizer.encode(text, add_special_tokens=False) == tokenizer.encode(text)
    chat = [{"role": "user", "content": "hi"}]
    rendered = theirs_tokenizer.apply_chat_template(chat, tokenize=False)
    assert rendered == "<|im_start|>user\nhi<|im_end|>\n"


@pytest.mark.parametrize("tied", [True, False])
def test_round_trip_is_exact(tied: bool, tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer, tie_embeddings=tied)
    save_model(model, tokenizer, tmp_path)
    again = load_model(tmp_path)
    assert again.config == model.config
    assert not again.training
    assert (again.lm_head.weight is again.embed_tokens.weight) == tied
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
    assert all(p.requires_grad for p in again.parameters())
    assert torch.equal(again.rope_cos, model.rope_cos)


def test_bf16_round_trip(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = small_model(tokenizer)
    save_model(model, tokenizer, tmp_path, dtype=torch.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    again = load_model(tmp_path, dtype=torch.bfloat16)
    assert all(
        torch.equal(a.bfloat16(), b)
        for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )


def test_loading_leaves_the_random_generator_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    load_model(folder)
    assert torch.equal(before, torch.get_rng_state())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def set_config(**values: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def drop_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors")


def add_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.router.weight"] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "half a config": (lambda f: truncate(f / "config.json"), "not valid JSON"),
    "binary config": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "not valid JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    "foreign": (set_config(model_type="mamba"), "'mamba' is not supported"),
    "no sizes": (lambda f: (f / "config.json").write_text('{"model_type": "llama"}'), "lacks"),
    "text for a size": (set_config(hidden_size="many"), "wrong kind"),
    "no heads": (set_config(num_attention_heads=0), "heads is 0"),
    "zero divided": (
        set_config(model_type="llama", num_attention_heads=0, head_dim=None),
        "wrong kind",
    ),
    "unknown rope": (set_config(rope_scaling={"type": "dynamic"}), "'dynamic' is not supported"),
    "half a rope": (set_config(rope_scaling={"type": "llama3", "factor": 2}), "lacks"),
    "a rope without numbers": (
        set_config(rope_scaling={"rope_type": "linear", "factor": "two"}),
        "wrong kind",
    ),
    "a rope that shrinks to nothing": (
        set_config(rope_scaling={"rope_type": "linear", "factor": 0}),
        "must be above 0",
    ),
    "too few factors": (
        set_config(rope_scaling={"type": "longrope", "short_factor": [1], "long_factor": [1]}),
        "1 short factors but a head has 8 pairs",
    ),
    "a rope a layer": (
        set_config(rope_parameters={"full_attention": {"rope_theta": 1.0}}),
        "from layer to layer",
    ),
    "a part of the rope": (set_config(partial_rotary_factor=0.5), "Only a fused"),
    "gelu": (set_config(hidden_act="gelu"), "'gelu' is not supported"),
    "biases": (set_config(attention_bias=True), "q_proj.bias is missing"),
    "more biases": (set_config(mlp_bias=True), "feed-forward"),
    "quantised": (set_config(quantization_config={"quant_method": "awq"}), "Quantised weights"),
    "window": (set_config(use_sliding_window=True, sliding_window=63), "over 63 positions"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "half the weights": (lambda f: truncate(f / "model.safetensors"), "truncated"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "truncated"),
    "other sizes": (set_config(hidden_size=40), "expected"),
    "a layer less": (set_config(num_hidden_layers=1), "unknown tensor"),
    "a tensor less": (drop_tensor, "model.norm.weight is missing"),
    "a tensor more": (add_tensor, "model.router.weight"),
    "broken index": (
        lambda f: (f / "model.safetensors.index.json").write_text("{}"),
        "no weight_map",
    ),
    "missing shard": (
        lambda f: write_json(f / "model.safetensors.index.json", {"weight_map": {"a": "b"}}),
        "b is missing",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_one_clear_sentence(case: str, folder: Path) -> None:
    harm, words = BROKEN[case]
    harm(folder)
    with pytest.raises(UserError, match=words) as caught:
        load_model(folder)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_broken_tokenizer(folder: Path) -> None:
    truncate(folder / "tokenizer.json")
    with pytest.raises(UserError, match="not a readable tokenizer"):
        Tokenizer.load(folder)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json is missing"):
        load_model(tmp_path / "nowhere")


def test_config_defaults_are_those_of_the_family() -> None:
    values = dict(SMALL, model_type="qwen2", rms_norm_eps=1e-6)
    del values["head_dim"], values["num_key_value_heads"]
    config = config_from_hf(values)
    assert (config.head_dim, config.kv_heads) == (12, 4)


def test_an_unwritable_place(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write"):
        save_model(small_model(tokenizer), tokenizer, tmp_path / "file" / "model")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_read_only_folder(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(tokenizer)
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o555)
    is_root = os.geteuid() == 0
    try:
        if is_root:  # it may write anywhere; "nobody" may not
            os.seteuid(65534)
        with pytest.raises(UserError, match="Cannot write"):
            save_model(model, tokenizer, Path("."))
    finally:
        if is_root:
            os.seteuid(0)
        tmp_path.chmod(0o700)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from airust.gpt.checkpoint import load_model, save_model
from airust.gpt.tokenizer import Tokenizer
from airust.types import UserError
folder = Path(sys.argv[1])
model, tokenizer = load_model(folder), Tokenizer.load(folder)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save_model(model, tokenizer, folder)
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file size limit")
def test_a_full_disk_keeps_the_old_model(folder: Path) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder)], capture_output=True, text=True, check=True
    )
    assert "Cannot write" in done.stdout and "too large" in done.stdout
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_read_config_of_our_own_folder(folder: Path, tokenizer: Tokenizer) -> None:
    assert read_config(folder) == small_model(tokenizer).config
