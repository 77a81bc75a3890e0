"""The copy that is judged, with a real compiler; and what is written back."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.engines.dummy import DummyEngine
from airust.rust import NoToolchainError
from airust.rust.assistant import Limits, Project, open_project, repair
from airust.types import UserError
from tests.rust.assistant.conftest import change

BROKEN = 'fn main() {\n    let n: u8 = "7";\n    println!("{n}");\n}\n'


def run(project: Project, answers: list[str]):
    generator = repair(project, DummyEngine(script=answers), Limits(completions=1))
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def test_the_users_files_change_only_when_saved_and_the_old_ones_stay(tmp_path: Path):
    file = tmp_path / "a.rs"
    file.write_text("old\n")
    with Project(tmp_path, ["a.rs"], ["rustc", "a.rs"]) as project:
        project.write({"a.rs": "new\n"})
        assert file.read_text() == "old\n"
        assert project.save(project.read()) == [file]
    assert (file.read_text(), (tmp_path / "a.rs.orig").read_text()) == ("new\n", "old\n")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.rs", "a.rs.orig"]


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path):
    file = tmp_path / "a.rs"
    file.write_text("old\n")
    with Project(tmp_path, ["a.rs"], ["rustc", "a.rs"]) as project:
        file.write_text("the user's\n")
        with pytest.raises(UserError, match=r"a\.rs has changed since it was read"):
            project.save({"a.rs": "new\n"})
    assert file.read_text() == "the user's\n"


@pytest.mark.parametrize("name", ["none.rs", "notes.txt", "."])
def test_paths_without_rust(tmp_path: Path, name: str):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError):
        open_project(tmp_path / name)


@pytest.mark.usefixtures("no_toolchain")
def test_without_a_toolchain(tmp_path: Path):
    (tmp_path / "a.rs").write_text(BROKEN)
    with pytest.raises(NoToolchainError):
        open_project(tmp_path / "a.rs")


@pytest.mark.full
def test_a_single_file_is_repaired(tmp_path: Path):
    (tmp_path / "a.rs").write_text(BROKEN)
    answer = change(2, '    let n: u8 = "7";', "    let n: u8 = 7;")
    with open_project(tmp_path / "a.rs") as project:
        assert project.shown_command == "rustc a.rs"
        assert [e.code for e in project.check()] == ["E0308"]
        outcome = run(project, [answer])
    assert outcome.repaired and "u8 = 7;" in outcome.files["a.rs"]
    assert (tmp_path / "a.rs").read_text() == BROKEN


@pytest.mark.full
def test_modules_and_libraries(tmp_path: Path):
    (tmp_path / "lib.rs").write_text("mod inner;\npub fn f() -> u8 { inner::g() }\n")
    (tmp_path / "inner.rs").write_text("mod deep;\npub fn g() -> u8 { deep::h() }\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "deep.rs").write_text('pub fn h() -> u8 { "8" }\n')
    (tmp_path / "unrelated.rs").write_text("nonsense")
    deep = "inner/deep.rs"
    answer = change(1, 'pub fn h() -> u8 { "8" }', "pub fn h() -> u8 { 8 }", file=deep)
    with open_project(tmp_path / "lib.rs") as project:
        assert set(project.original) == {deep, "inner.rs", "lib.rs"}
        assert run(project, [answer]).repaired


@pytest.mark.full
def test_a_cargo_package(tmp_path: Path):
    (tmp_path / "src").mkdir()
    manifest = '[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2021"\n'
    (tmp_path / "Cargo.toml").write_text(manifest)
    (tmp_path / "src" / "main.rs").write_text(BROKEN)
    answer = change(2, '    let n: u8 = "7";', "    let n: u8 = 7;", file="src/main.rs")
    with open_project(tmp_path / "src" / "main.rs") as project:
        assert project.shown_command == "cargo check"
        outcome = run(project, [answer])
        assert outcome.repaired
    assert sorted(f.name for f in tmp_path.iterdir()) == ["Cargo.toml", "src"]
