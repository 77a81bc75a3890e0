"""Files that are written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airust.files import write_atomic, write_json, write_text
from airust.types import UserError


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    write_json(path, {"kept": True})

    def crash(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device"):
        write_atomic(path, crash)
    assert json.loads(path.read_text()) == {"kept": True}
    assert [p.name for p in tmp_path.iterdir()] == ["notes.json"]


def test_text_is_written_as_it_is_into_a_folder_that_it_makes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "notes.txt"
    write_text(path, "水\n")
    assert path.read_bytes() == "水\n".encode()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write '.*notes.txt': "):
        write_text(tmp_path / "file" / "notes.txt", "x")
