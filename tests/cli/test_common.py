"""Which --model is a path and which is a name at the hub."""

from pathlib import Path

import pytest

from airust.cli import common
from airust.types import UserError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_is_there_is_a_path():
    for path in (Path("owner/name"), Path("model.gguf")):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert common.model_or_hub_name(path) == path


def test_owner_and_name_is_a_hub_name():
    assert common.model_or_hub_name(Path("owner") / "name-0.5B") == "owner/name-0.5B"


@pytest.mark.parametrize("path", ["name", "a/b/c", "./name", "../name", "runs/tiny", "/a/b"])
def test_other_paths_must_exist(path):
    with pytest.raises(UserError, match="There is no model at"):
        common.model_or_hub_name(Path(path))


def test_below_a_folder_that_is_there_it_is_a_path():
    Path("models").mkdir()
    with pytest.raises(UserError, match="There is no model at"):
        common.model_or_hub_name(Path("models/missing"))
