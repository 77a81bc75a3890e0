"""Models that nobody trained, in the form that every engine loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from airust.bench import random_model
from airust.bench.host import describe_model
from airust.bench.random_model import make_random
from airust.bench.random_model import random_model as get
from airust.bench.reference import answer_workload
from airust.bench.workload import WorkloadSpec, make_workload
from airust.gpt.checkpoint import load_model
from airust.gpt.config import GPTConfig
from airust.gpt.tokenizer import Tokenizer
from airust.types import UserError

SMALL = GPTConfig(600, hidden_size=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn_size=96)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("random")
    make_random(SMALL, made)
    return made


def test_the_same_seed_makes_the_same_model(folder: Path, tmp_path: Path) -> None:
    make_random(SMALL, tmp_path)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_its_likeliest_tokens_lie_apart(folder: Path) -> None:
    """Or rounding would decide about tokens, and engines could not be compared."""
    spec = WorkloadSpec(32, 48, 16, streams=(1,), repeats=2)
    answers = answer_workload(folder, make_workload(Tokenizer.load(folder), spec))
    margins = torch.tensor([margin for answer in answers for margin in answer["margins"]])
    assert (margins > 2e-3).float().mean() > 0.98
    assert (
        len({tuple(answer["token_ids"]) for answer in answers if len(answer["token_ids"]) > 1}) > 1
    )


def test_a_named_model_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(random_model.RANDOM, "qwen3-1m", SMALL)
    made = get("qwen3-1m", tmp_path)
    assert made == tmp_path / "random-qwen3-1m"
    written = (made / "model.safetensors").stat().st_mtime_ns
    assert get("qwen3-1m", tmp_path) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == written
    (made / "chat_template.jinja").unlink()  # as if it had been stopped before its last file
    get("qwen3-1m", tmp_path)
    assert (made / "model.safetensors").stat().st_mtime_ns > written
    assert load_model(made).config.layers == 2


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no random model 'gpt5'; known: qwen3-1m, qwen3-100m"):
        get("gpt5")


def test_the_hundred_million_are_a_hundred_million_with_room_for_512_tokens() -> None:
    config = random_model.RANDOM["qwen3-100m"]
    assert config.context >= 1024
    attention = config.hidden_size * config.head_dim * 2 * (config.heads + config.kv_heads)
    block = attention + 3 * config.hidden_size * config.ffn_size
    assert 80e6 < config.layers * block + config.vocab_size * config.hidden_size < 110e6


def test_the_report_can_describe_it(folder: Path) -> None:
    assert describe_model(folder)["config"]["model_type"] == "qwen3"
