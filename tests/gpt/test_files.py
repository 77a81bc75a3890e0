"""A user's own data: every kind of file, and every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airust.gpt.files import open_data
from airust.gpt.presets import preset
from airust.gpt.run import prepare
from airust.types import UserError

CHAT = [{"role": "user", "content": "rain?"}, {"role": "assistant", "content": "Drops."}]


def test_text_keeps_its_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one\r\n\ntwo 水\n".encode())
    assert list(open_data(str(tmp_path / "a.txt")).texts()) == ["one\r\n\ntwo 水\n"]


def test_jsonl_parquet_and_folders(tmp_path: Path) -> None:
    import pandas

    lines = "".join(json.dumps({"messages": CHAT}) + "\n" for _ in range(3))
    (tmp_path / "chat.jsonl").write_text(lines, "utf-8")
    assert open_data(str(tmp_path / "chat.jsonl")).column == "messages"
    pandas.DataFrame({"text": ["x", "y"]}).to_parquet(tmp_path / "t.parquet")
    assert list(open_data(str(tmp_path / "t.parquet")).texts()) == ["x", "y"]
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.txt").write_text(name, "utf-8")
    assert list(open_data(str(folder)).texts()) == ["a", "b"]


def test_conversations_train(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps({"messages": CHAT}) + "\n" for _ in range(90)), "utf-8")
    run = prepare(preset("smoke", steps=3, rows=2), tmp_path / "run", data=str(path))
    assert len(list(run.trainer)) == 3


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.txt", None, "does not exist"),
        ("empty.txt", b"", "empty"),
        ("latin.txt", "caf\xe9 ".encode("latin-1") * 50, "not UTF-8"),
        ("rows.jsonl", b'{"title": "x"}\n', "no column"),
        ("broken.jsonl", b'{"text": \n', "cannot be read"),
        ("bad.jsonl", b'{"messages": "hello"}\n', "not a list"),
        ("data.csv", b"a,b\n", "is none of"),
        ("short.txt", b"too short", "context"),
    ],
)
def test_each_mistake_is_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=complaint) as caught:
        prepare(preset("smoke"), tmp_path / "run", data=str(path))
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="Cannot write"):
        prepare(preset("smoke"), tmp_path / "file" / "run")
