"""What makes two models the same: their weights and their vocabulary, not their names."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from airust.gpt.fingerprint import file_sha256, vocabulary_sha256, weights_sha256
from airust.gpt.gguf import save_gguf
from airust.gpt.tokenizer import character_tokenizer
from airust.types import UserError


@pytest.fixture
def copy(model_dir: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(model_dir, folder)
    return folder


def test_weights_are_identified_by_their_content(model_dir: Path, copy: Path) -> None:
    weights = copy / "model.safetensors"
    assert weights_sha256(copy) == weights_sha256(model_dir) == file_sha256(weights)
    assert file_sha256(weights) == sha256(weights.read_bytes()).hexdigest()
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert weights_sha256(copy) != weights_sha256(model_dir)


def test_every_shard_counts(model_dir: Path, copy: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        shutil.copy(copy / "model.safetensors", copy / name)
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    both = weights_sha256(copy)
    assert both != weights_sha256(model_dir)
    (copy / "b.safetensors").write_bytes(b"other")
    assert weights_sha256(copy) != both


def test_a_folder_and_its_gguf_file_share_the_vocabulary(model_dir: Path, copy: Path) -> None:
    file = copy / "model.gguf"
    save_gguf(copy, file)
    assert vocabulary_sha256(file) == vocabulary_sha256(copy) == vocabulary_sha256(model_dir)
    assert weights_sha256(file) == file_sha256(file) != weights_sha256(copy)
    for name, text in character_tokenizer(["abc"]).files().items():
        (copy / name).write_text(text, "utf-8")
    assert vocabulary_sha256(copy) != vocabulary_sha256(model_dir)


def test_what_cannot_be_read_is_one_sentence(copy: Path) -> None:
    for name, read in (
        ("model.safetensors", weights_sha256),
        ("tokenizer.json", vocabulary_sha256),
    ):
        (copy / name).unlink()
        with pytest.raises(UserError, match=name):
            read(copy)
    with pytest.raises(UserError, match="Cannot read"):
        file_sha256(copy)
