"""Folders, GGUF files and hub names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from airust.engines.model_files import find_model
from airust.types import UserError


def test_a_folder_and_a_file(model_dir: Path, tmp_path: Path) -> None:
    assert find_model(str(model_dir)) == model_dir
    path = tmp_path / "model.gguf"
    path.touch()
    assert find_model(path, gguf=True) == path
    with pytest.raises(UserError, match="wants a model folder"):
        find_model(path)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_what_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    for name in {"config.json", "tokenizer.json"} - {missing}:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"{missing} is missing"):
        find_model(tmp_path)


def test_a_hub_name_is_downloaded(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, **options: Any) -> str:
        assert name == "someone/some-model"
        return str(model_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find_model("someone/some-model") == model_dir


def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, **options: Any) -> str:
        raise ConnectionError("Name or service not known\nTraceback ...")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UserError) as caught:
        find_model("someone/some-model")
    assert str(caught.value) == (
        "'someone/some-model' is neither a folder here nor a model that can be downloaded: "
        "Name or service not known."
    )


@pytest.mark.parametrize(
    "model", ["nowhere", "./nowhere/x", "/nowhere/x", "a/b/c", "tests/nothing"]
)
def test_what_looks_like_a_path_is_not_looked_for_at_the_hub(
    monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("asked"))
    with pytest.raises(UserError, match=f"There is no model at '{model}'"):
        find_model(model)
