"""`airust grade`: a table, an exit code, and what is remembered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from airust.lessons import progress

COURSE = Path(__file__).resolve().parents[2] / "courses" / "ai-with-rust"


@pytest.fixture(autouse=True)
def _progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRUST_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def assignment(tmp_path: Path) -> Path:
    """Two tests in Python, one of which passes."""
    folder = tmp_path / "course" / "a1"
    folder.mkdir(parents=True)
    (folder / "assignment.toml").write_text(
        'title = "Numbers"\nedit = ["answer.py"]\n[python.points]\ntest_one = 40\ntest_two = 60\n'
    )
    (folder / "answer.py").write_text("ONE, TWO = 1, 3\n")
    (folder / "grade.py").write_text(
        "import unittest\nimport answer\n"
        "class Grade(unittest.TestCase):\n"
        "    longMessage = False\n"
        "    def test_one(self): self.assertEqual(answer.ONE, 1)\n"
        "    def test_two(self): self.assertEqual(answer.TWO, 2, 'two is [2]')\n"
        "unittest.main()\n"
    )
    return folder


def test_a_table_with_reasons(airust, assignment: Path):
    done = airust("grade", str(assignment))
    assert done.exit_code == 1
    assert "course/a1: Numbers" in done.stdout
    assert "40 of 100 points" in done.stdout
    assert "two is [2]" in done.stdout
    assert "answer.py" in done.stderr
    assert progress.points() == {"course/a1": 40}


def test_all_points(airust, assignment: Path):
    (assignment / "answer.py").write_text("ONE, TWO = 1, 2\n")
    done = airust("grade", str(assignment))
    assert (done.exit_code, progress.points()) == (0, {"course/a1": 100})
    assert "100 of 100 points" in done.stdout


def test_a_course_is_graded_as_a_whole(airust, assignment: Path):
    second = shutil.copytree(assignment, assignment.with_name("a2"))
    (second / "answer.py").write_text("ONE, TWO = 1, 2\n")
    done = airust("grade", str(assignment.parent))
    assert done.exit_code == 1
    assert progress.points() == {"course/a1": 40, "course/a2": 100}
    assert done.stdout.count("course/a2") == 2


def test_json_for_other_programs(airust, assignment: Path):
    done = airust("grade", str(assignment), "--json")
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)
    assert (found["assignment"], found["points"]) == ("course/a1", 40)
    assert found["checks"][1] == {
        "test": "test_two", "points": 0, "worth": 60, "reason": "two is [2]",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["nothing", "course"])
def test_mistakes_are_one_sentence(airust, tmp_path: Path, name: str):
    (tmp_path / "course").mkdir()
    done = airust("grade", str(tmp_path / name))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


def test_without_cargo_it_says_how_to_get_it(
    airust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("PATH", "HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    done = airust("grade", str(COURSE / "p3-serve"))
    assert done.exit_code == 2
    assert "rustup" in done.stderr
