"""Every starter gets fewer than 100 points, every solution all of them, and the texts are true."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from airust.lessons.grading import Assignment, find_assignments, grade, read_assignment
from airust.rust import find_toolchain
from tests.courses import golden
from tests.courses.conftest import COURSES

ROOT = COURSES.parent
ASSIGNMENTS = find_assignments(COURSES)
REFUSED = "does not compile when you get it"
each = pytest.mark.parametrize("assignment", ASSIGNMENTS, ids=lambda a: a.name)
NEED_CARGO = [a for a in ASSIGNMENTS if a.rust or a.folder.name == "p5-repair"]
NEED_NONE = [a for a in ASSIGNMENTS if a not in NEED_CARGO]


def readme(assignment: Assignment) -> str:
    return (assignment.folder / "README.md").read_text("utf-8")


def test_there_are_enough_of_them():
    names = [a.name for a in ASSIGNMENTS]
    assert len([n for n in names if n.startswith("rust/w")]) >= 8
    assert len([n for n in names if n.startswith("ai-with-rust/p")]) >= 5


@each
def test_points_are_given_for_every_test_that_is_there(assignment: Assignment):
    if assignment.rust:
        source = (assignment.folder / "tests" / "grade.rs").read_text("utf-8")
        found = re.findall(r"^#\[test\]\nfn (\w+)\(", source, flags=re.MULTILINE)
        assert found == list(assignment.rust.points)
    if assignment.python:
        tree = ast.parse((assignment.folder / "grade.py").read_text("utf-8"))
        names = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        found = [name for name in names if name.startswith("test_")]
        assert sorted(found) == sorted(assignment.python.points)


@each
def test_the_readme_says_what_is_asked_and_what_it_is_worth(assignment: Assignment):
    text = readme(assignment)
    assert text.startswith(f"# {assignment.folder.name}: {assignment.title}\n")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == [
        "Task", "Points", "Hints", "Check",
    ]  # fmt: skip
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|$", text, flags=re.MULTILINE)
    parts = [tests.points for tests in (assignment.rust, assignment.python) if tests]
    assert {name: int(points) for name, points in rows} == {
        name: points for part in parts for name, points in part.items()
    }
    assert f"airust grade courses/{assignment.name}\n" in text
    for name in assignment.edit:
        assert f"`{name}`" in text


@each
def test_a_solution_has_the_files_that_a_learner_changes(assignment: Assignment):
    folder = assignment.folder.parent / "solutions" / assignment.folder.name
    files = {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}
    assert files - {"Cargo.lock"} == set(assignment.edit)


@each
def test_no_crate_is_fetched_but_candle(assignment: Assignment):
    if not assignment.rust:
        return
    manifest = tomllib.loads((assignment.folder / "Cargo.toml").read_text("utf-8"))
    ours = tomllib.loads((ROOT / "crates/airust-candle/Cargo.toml").read_text("utf-8"))
    wanted = manifest.get("dependencies", {})
    assert (assignment.folder.name == "p1-candle-engine") == bool(wanted)
    assert wanted.items() <= ours["dependencies"].items()
    assert manifest["package"]["name"] == assignment.folder.name


PAGES = [
    *COURSES.rglob("*.md"),
    *(ROOT / "notes").glob("*.md"),
    *(ROOT / "plans").glob("*.md"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("course", ["rust", "ai-with-rust"])
def test_a_syllabus_names_every_assignment_and_has_a_chinese_overview(course: str):
    text = (COURSES / course / "SYLLABUS.md").read_text("utf-8")
    for assignment in ASSIGNMENTS:
        if assignment.name.startswith(f"{course}/"):
            assert f"({assignment.folder.name}/README.md)" in text
    found = re.search(r"^## 中文概览\n(.*?)(?=^## )", text, flags=re.MULTILINE | re.DOTALL)
    assert found and len(re.findall(r"[一-鿿]", found[1])) >= 150


def test_every_note_is_listed_and_dated():
    index = (ROOT / "notes" / "README.md").read_text("utf-8")
    for note in (ROOT / "notes").glob("*.md"):
        if note.name != "README.md":
            assert f"({note.name})" in index
            assert re.search(r"^20\d\d-\d\d-\d\d\. ", note.read_text("utf-8"), flags=re.MULTILINE)


def test_the_numbers_of_the_candle_project_are_the_package_s(tmp_path: Path):
    golden.write(tmp_path)
    for name in ("config.json", "model.safetensors"):
        assert (golden.FOLDER / name).read_bytes() == (tmp_path / name).read_bytes()
    kept, now = (json.loads((f / "expected.json").read_text()) for f in (golden.FOLDER, tmp_path))
    assert kept["ids"] == now["ids"]
    for row, again in zip(kept["logits"], now["logits"], strict=True):
        assert row == pytest.approx(again, abs=1e-4)


def graded(courses: Path, assignment: Assignment):
    return grade(read_assignment(courses / assignment.name))


def assert_incomplete(starters: Path, assignment: Assignment) -> None:
    result = graded(starters, assignment)
    assert result.points < 60, [check for check in result.checks if not check.reason]
    assert all(check.reason for check in result.checks if not check.points)
    assert bool(result.errors) == (REFUSED in readme(assignment))


def assert_complete(solutions: Path, assignment: Assignment) -> None:
    result = graded(solutions, assignment)
    assert not result.errors, result.errors[0].text
    assert result.full, [check for check in result.checks if check.reason]


@pytest.mark.parametrize("assignment", NEED_NONE, ids=lambda a: a.name)
def test_starter_and_solution_without_a_compiler(
    starters: Path, solutions: Path, assignment: Assignment
):
    assert_incomplete(starters, assignment)
    assert_complete(solutions, assignment)


@pytest.mark.full
@pytest.mark.parametrize("assignment", NEED_CARGO, ids=lambda a: a.name)
def test_starters_get_fewer_than_all_points(starters: Path, assignment: Assignment):
    assert_incomplete(starters, assignment)


@pytest.mark.full
@pytest.mark.parametrize("assignment", NEED_CARGO, ids=lambda a: a.name)
def test_solutions_get_all_points(solutions: Path, assignment: Assignment):
    assert_complete(solutions, assignment)


@pytest.mark.full
def test_the_rust_is_formatted_and_clean(solutions: Path, starters: Path, tmp_path: Path):
    cargo = str(find_toolchain(cargo=True).cargo)
    for folder in (starters, solutions):
        files = [str(f) for f in folder.rglob("*.rs") if "solutions" not in f.parts]
        style = ["--edition", "2024", "--config", "use_small_heuristics=Max", "--check"]
        done = subprocess.run(["rustfmt", *style, *files], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    clippy = [cargo, "clippy", "--all-targets", "--target-dir", str(tmp_path), "--"]
    for package in ("rust", "ai-with-rust/p2-fast-kernel", "ai-with-rust/p3-serve"):
        done = subprocess.run(
            [*clippy, "-D", "warnings"],
            cwd=solutions / package, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
