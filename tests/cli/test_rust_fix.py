"""`airust rust fix`: the change is shown; writing takes --write."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.cli import common
from airust.engines.dummy import DummyEngine
from tests.rust.assistant.conftest import change
from tests.rust.conftest import require_toolchain

BROKEN = 'fn main() {\n    let n: u8 = "7";\n    println!("{n}");\n}\n'
ANSWER = change(2, '    let n: u8 = "7";', "    let n: u8 = 7;")
DIFF = '--- a/a.rs\n+++ b/a.rs\n@@ -1,4 +1,4 @@\n fn main() {\n-    let n: u8 = "7";\n'


@pytest.fixture
def fix(airust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the command on a broken file with scripted answers."""
    require_toolchain()
    (tmp_path / "a.rs").write_text(BROKEN)

    def run(answers: list[str], *options: str):
        engine = DummyEngine(script=answers)
        monkeypatch.setattr(common, "open_engine", lambda name, model: engine)
        file = str(tmp_path / "a.rs")
        return airust("rust", "fix", file, "--completions", "1", *options)

    return run


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("none.rs", "There is nothing at"), ("notes.txt", "is neither a Rust file nor in a cargo")],
)
def test_mistakes_are_one_sentence(airust, tmp_path: Path, name: str, sentence: str):
    (tmp_path / "notes.txt").write_text("hello")
    done = airust("rust", "fix", str(tmp_path / name))
    assert done.exit_code == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.full
def test_the_change_is_shown_and_nothing_written(fix, tmp_path: Path):
    done = fix([ANSWER])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(DIFF)
    assert "1 of 1 error repaired with 1 answer" in done.stderr
    assert "Nothing was written; --write does." in done.stderr
    assert (tmp_path / "a.rs").read_text() == BROKEN


@pytest.mark.full
def test_write_keeps_the_old_file(fix, tmp_path: Path):
    assert fix([ANSWER], "--write").exit_code == 0
    assert "u8 = 7;" in (tmp_path / "a.rs").read_text()
    assert (tmp_path / "a.rs.orig").read_text() == BROKEN
    assert "finds no error" in fix([]).stderr


@pytest.mark.full
def test_what_does_not_get_better_is_not_written(fix, tmp_path: Path):
    done = fix(["I do not know."], "--write")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "turned down: the answer holds no change" in done.stderr
    assert "Left: [E0308] mismatched types (a.rs)" in done.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["a.rs"]
