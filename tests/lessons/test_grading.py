"""Manifests are read strictly; tests become points with a reason for each that is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from airust.lessons import grading
from airust.lessons.grading import find_assignments, read_assignment
from airust.rust import NoToolchainError
from airust.types import UserError
from tests.rust.conftest import require_toolchain

PYTHON = """
title = "Twice"
edit = ["answer.py"]
[python]
timeout_s = 20
[python.points]
test_two = 30
test_text = 70
"""
GRADE = """
import unittest
from answer import twice

class Grade(unittest.TestCase):
    longMessage = False

    def test_two(self):
        self.assertEqual(twice(2), 4, "twice two is four")

    def test_text(self):
        self.assertEqual(twice("a"), "aa", "twice a")

unittest.main()
"""
RUST = """
title = "Half"
edit = ["src/lib.rs"]
[rust]
timeout_s = 5
[rust.points]
halves = 40
ends = 20
stays_on_the_stack = 20
is_there = 20
"""
GRADE_RS = """
#[test]
fn halves() { assert_eq!(half::half(4), 2, "half of four"); }
#[test]
fn ends() { half::wait(); }
#[test]
fn stays_on_the_stack() { assert_eq!(half::deep(1), 1); }
"""
LIB_RS = """
pub fn half(n: u32) -> u32 { n / 2 }
pub fn wait() { loop { std::hint::spin_loop() } }
#[allow(unconditional_recursion)]
pub fn deep(n: u64) -> u64 { 1 + deep(std::hint::black_box(n + 1)) }
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An assignment in Python that nobody has worked on."""
    files = {
        "assignment.toml": PYTHON,
        "grade.py": GRADE,
        "answer.py": "def twice(x): ...\n",
    }
    return write(tmp_path / "course" / "a1", **files)


def test_points_and_reasons(python: Path):
    (python / "answer.py").write_text("def twice(x):\n    return x + 2\n")
    result = grading.grade(read_assignment(python))
    assert (result.assignment.name, result.points, result.full) == ("course/a1", 30, False)
    two, text = result.checks
    assert (two.sentence, two.points, two.reason) == ("two", 30, "")
    assert text.points == 0 and text.reason.startswith("TypeError: can only concatenate str")


def test_the_reason_is_the_message_of_the_test(python: Path):
    assert [c.reason for c in grading.grade(read_assignment(python)).checks] == [
        "twice two is four", "twice a",
    ]  # fmt: skip


def test_all_points(python: Path):
    (python / "answer.py").write_text("def twice(x):\n    return x + x\n")
    assert grading.grade(read_assignment(python)).full


def test_an_endless_loop_costs_its_points_and_no_others(python: Path):
    manifest = PYTHON.replace("timeout_s = 20", "timeout_s = 4")
    (python / "assignment.toml").write_text(manifest)
    (python / "answer.py").write_text(
        "def twice(x):\n    while x == 2:\n        pass\n    return x + x\n"
    )
    first, second = grading.grade(read_assignment(python)).checks
    assert first.reason == "stopped after 4 s"
    assert second.points == 70


def test_a_file_that_cannot_be_read_by_python_is_a_reason(python: Path):
    (python / "answer.py").write_text("def twice(x)\n")
    reasons = {check.reason for check in grading.grade(read_assignment(python)).checks}
    assert reasons == {"SyntaxError: expected ':'"}


def test_tests_that_are_not_there_give_no_points(python: Path):
    write(python, **{"grade.py": GRADE.replace("test_two", "test_three")})
    (python / "answer.py").write_text("def twice(x):\n    return x + x\n")
    assert grading.grade(read_assignment(python)).points == 70


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("= 30", "= 31"), "the points add up to 101"),
        (("test_two = 30", "test_two = 0\ntest_three = 30"), ">= 1|> 0"),
        (("timeout_s", "timeout"), "unknown field `timeout`"),
        (("edit", "edits"), "edits|edit"),
        (("title =", "title"), "cannot be read"),
        (('"answer.py"', '"other.py"'), "has no other.py"),
        (("[python]", "[rust]\n[python]"), "points"),
    ],
)
def test_a_mistake_in_a_manifest_is_one_sentence(
    python: Path, change: tuple[str, str], sentence: str
):
    (python / "assignment.toml").write_text(PYTHON.replace(*change))
    with pytest.raises(UserError, match=sentence) as error:
        read_assignment(python)
    assert "\n" not in str(error.value)


def test_assignments_are_found_below_a_folder_but_not_among_solutions(python: Path):
    for place in ("a2", "solutions/a1", "target/a3"):
        folder = python.parent / place
        write(folder, **{f.name: f.read_text() for f in python.iterdir() if f.is_file()})
    assert [a.name for a in find_assignments(python.parent)] == ["course/a1", "course/a2"]
    (python.parent / "empty").mkdir()
    with pytest.raises(UserError, match="no assignment"):
        find_assignments(python.parent / "empty")
    with pytest.raises(UserError, match="nothing at"):
        find_assignments(python.parent / "none")


@pytest.fixture
def rust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An assignment in Rust whose answer is right, endless, and too deep."""
    monkeypatch.setenv("AIRUST_CACHE", str(tmp_path / "cache"))
    package = '[package]\nname = "half"\nedition = "2024"\n[lib]\ntest = false\n[workspace]\n'
    files = {
        "assignment.toml": RUST,
        "Cargo.toml": package,
        "src/lib.rs": LIB_RS,
        "tests/grade.rs": GRADE_RS,
    }
    return write(tmp_path / "course" / "b1", **files)


@pytest.mark.full
def test_each_rust_test_pays_for_itself(rust: Path):
    require_toolchain()
    steps: list[str] = []
    result = grading.grade(read_assignment(rust), steps.append)
    reasons = {check.test: check.reason for check in result.checks}
    assert result.points == 40
    assert reasons["halves"] == ""
    assert reasons["ends"].startswith("stopped after 5 s")
    assert "stack overflowed" in reasons["stays_on_the_stack"]
    assert reasons["is_there"] == "tests/grade.rs has no test is_there"
    assert steps[0] == "building" and steps[-1] == "is_there"
    assert not (rust / "target").exists()


@pytest.mark.full
def test_a_wrong_number_is_shown_beside_the_right_one(rust: Path):
    require_toolchain()
    (rust / "src/lib.rs").write_text(LIB_RS.replace("n / 2", "n * 2"))
    (rust / "assignment.toml").write_text(
        'title = "Half"\nedit = ["src/lib.rs"]\n[rust.points]\nhalves = 100\n'
    )
    (check,) = grading.grade(read_assignment(rust)).checks
    assert check.reason == "half of four (yours: 8, expected: 2)"


@pytest.mark.full
def test_two_copies_are_graded_each_by_itself(rust: Path):
    """For cargo they are one package, and the second one's files are older than the first build."""
    require_toolchain()
    manifest = 'title = "Half"\nedit = ["src/lib.rs"]\n[rust.points]\nhalves = 100\n'
    (rust / "assignment.toml").write_text(manifest)
    wrong = shutil.copytree(rust, rust.parents[1] / "other" / "b1")
    (wrong / "src/lib.rs").write_text(LIB_RS.replace("n / 2", "n * 2"))
    os.utime(wrong / "src/lib.rs", (1, 1))
    assert grading.grade(read_assignment(rust)).full
    assert grading.grade(read_assignment(wrong)).points == 0


@pytest.mark.full
def test_a_package_that_the_compiler_refuses_has_no_points(rust: Path):
    require_toolchain()
    (rust / "src/lib.rs").write_text("pub fn half(n: u32) -> u32 { n / 2.0 }")
    result = grading.grade(read_assignment(rust))
    assert result.points == 0
    assert "E0277" in [error.code for error in result.errors]
    assert {check.reason for check in result.checks} == {"the compiler refuses the package"}
    (rust / "Cargo.toml").write_text("[package]\n")
    with pytest.raises(UserError, match="cargo cannot build"):
        grading.grade(read_assignment(rust))


def test_without_cargo_it_says_so(rust: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("PATH", "HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(NoToolchainError, match="rustup"):
        grading.grade(read_assignment(rust))
