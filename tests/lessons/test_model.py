"""A model for the notebooks: the trained one, or a stand-in beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.lessons.model import is_trained, ready_model


def make(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_a_trained_model_is_taken(tmp_path: Path):
    trained = make(tmp_path / "tiny", "model.safetensors", "eval.json")
    assert is_trained(trained)
    assert ready_model(trained) == trained
    assert ready_model(str(trained)) == trained


@pytest.mark.parametrize("names", [(), ("model.safetensors",), ("eval.json",)])
def test_an_unfinished_run_is_not_and_a_stand_in_is_made_only_once(tmp_path: Path, names):
    unfinished = make(tmp_path / "tiny", *names)
    stand_in = make(tmp_path / "smoke", "model.safetensors")
    assert not is_trained(unfinished)
    assert ready_model(unfinished) == stand_in
