"""What a learner has passed is kept, and shown with the way ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.lessons import progress
from airust.lessons.progress import Lesson, Overview

PATH = (
    Lesson("nb00", "Where do I start?", ("nb00.ex1", "nb00.ex2")),
    Lesson("r1", "Why <Rust>?", ("r1.ex1",)),
)


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.json"
    monkeypatch.setenv("AIRUST_PROGRESS", str(path))
    return path


def test_what_is_passed_adds_up_and_survives(file):
    for name in ("nb01.ex2", "nb00.ex1", "nb01.ex2"):
        progress.remember(name)
    assert progress.passed() == {"nb00.ex1", "nb01.ex2"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"passed": 3}', "\udcff"])
def test_a_damaged_file_counts_as_empty_and_is_mended(file, content):
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert progress.passed() == frozenset()
    progress.remember("nb00.ex1")
    assert progress.passed() == {"nb00.ex1"}


def test_a_place_that_cannot_be_written_does_no_harm(file, monkeypatch):
    monkeypatch.setenv("AIRUST_PROGRESS", str(file / "below" / "a-file"))
    file.write_text("not a folder")
    progress.remember("nb00.ex1")
    assert progress.passed() == frozenset()


def test_the_overview_counts_and_points_ahead():
    view = Overview(PATH, frozenset({"nb00.ex1", "nb77.ex1"}))
    assert view.rows() == [("nb00", "Where do I start?", 1, 2), ("r1", "Why <Rust>?", 0, 1)]
    assert view.next == "nb00.ex2"
    assert "nb00  ●○" in repr(view)
    assert "Why &lt;Rust&gt;?" in view._repr_html_()
    assert Overview(PATH, frozenset({"nb00.ex1", "nb00.ex2", "r1.ex1"})).next is None


def test_every_lesson_has_a_question_and_exercises():
    found = progress.lessons()
    assert [lesson.id for lesson in found][:1] == ["nb00"]
    for lesson in found:
        assert lesson.title.endswith("?"), lesson.id
        numbers = range(1, len(lesson.exercises) + 1)
        assert lesson.exercises == tuple(f"{lesson.id}.ex{n}" for n in numbers)
        assert 4 <= len(lesson.exercises) <= 8, lesson.id


def test_the_best_points_of_an_assignment_are_kept():
    progress.remember("nb00.ex1")
    for points in (40, 100, 60):
        progress.remember_points("rust/w01", points)
    assert progress.points() == {"rust/w01": 100}
    assert progress.passed() == {"nb00.ex1"}
    assert "rust/w01: 100 of 100 points" in repr(progress.overview())


def test_a_file_of_before_there_were_points_is_read(file):
    file.write_text('{"passed": ["nb00.ex1"]}')
    assert (progress.passed(), progress.points()) == ({"nb00.ex1"}, {})


FOUR = tuple(
    Lesson(name, f"{name}?", (f"{name}.ex1", f"{name}.ex2"))
    for name in ("nb00", "nb02", "nb04", "r1")
)


@pytest.mark.parametrize(
    ("passed", "open_now"),
    [
        ((), ["nb00"]),
        (("nb00.ex1",), ["nb00", "nb02", "r1"]),  # half is enough to go on
        (("nb00.ex1", "r1.ex2"), ["nb00", "r1", "nb02"]),  # what is begun comes first
        (("nb00.ex1", "nb00.ex2", "nb02.ex1"), ["nb02", "nb04", "r1"]),
    ],
)
def test_lessons_open_when_what_they_need_is_known(passed, open_now):
    view = Overview(FOUR, frozenset(passed))
    assert [lesson.id for lesson in view.open] == open_now


def test_a_lesson_that_is_not_there_hands_on_what_it_needs():
    # 15 needs 13, which needs 08
    lessons = (
        *FOUR[:1],
        Lesson("nb08", "08?", ("nb08.ex1",)),
        Lesson("nb15", "15?", ("nb15.ex1",)),
    )
    view = Overview(lessons, frozenset({"nb00.ex1", "nb00.ex2"}))
    assert [lesson.id for lesson in view.open] == ["nb08"]


def test_titles_lead_to_the_notebooks_beside_them(tmp_path, monkeypatch):
    (tmp_path / "00-start-here.ipynb").touch()
    monkeypatch.chdir(tmp_path)
    page = Overview(PATH, frozenset())._repr_html_()
    assert "<a href='00-start-here.ipynb'>00</a>" in page
    assert "0 of 3 exercises" in page
    assert ">R1<" in page
