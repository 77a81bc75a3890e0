"""Courses in a copy, as a learner gets them and as they are when everything is solved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.rust.conftest import require_toolchain

COURSES = Path(__file__).resolve().parents[2] / "courses"


def copy_courses(target: Path, *, solved: bool) -> Path:
    shutil.copytree(COURSES, target, ignore=shutil.ignore_patterns("target", "Cargo.lock"))
    if solved:
        for solution in target.glob("*/solutions/*"):
            shutil.copytree(solution, solution.parents[1] / solution.name, dirs_exist_ok=True)
    return target


@pytest.fixture(scope="session")
def starters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_courses(tmp_path_factory.mktemp("starters") / "courses", solved=False)


@pytest.fixture(scope="session")
def solutions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_courses(tmp_path_factory.mktemp("solutions") / "courses", solved=True)


@pytest.fixture(scope="session")
def _builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("builds")


@pytest.fixture(autouse=True)
def _cache(_builds: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One folder for what is built in this run, so that crates are compiled once."""
    monkeypatch.setenv("AIRUST_CACHE", str(_builds))
    if request.node.get_closest_marker("full"):
        require_toolchain()
