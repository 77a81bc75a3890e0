"""What every notebook of the learning path has, without running it."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

from airust.lessons import progress
from tests.notebooks.lesson_files import (
    NOTEBOOKS,
    ROOT,
    SOLUTIONS,
    cells,
    exercise_of,
    lesson_id,
    prose,
    script,
    solutions,
    tags,
)

LARGEST_BYTES = 1_500_000
LONGEST_CELL = 25  # lines
MOST_CODE = 330  # lines
SECTIONS = ("What you will be able to do", "Exercises", "Summary", "Sources")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(path: Path) -> list:
    return [cell for cell in cells(path) if cell.cell_type == "code"]


def headings(path: Path) -> list[tuple[int, str]]:
    found = re.findall(r"^(#+) (.+)$", prose(path), flags=re.MULTILINE)
    return [(len(marks), text.strip()) for marks, text in found]


def test_there_are_notebooks_and_each_has_its_checks_and_solutions():
    ids = {lesson_id(path) for path in NOTEBOOKS}
    assert ids == {lesson.id for lesson in progress.lessons()}
    assert ids == {path.stem for path in SOLUTIONS.glob("*.py")}


@each_notebook
def test_the_name_says_what_is_done(path: Path):
    assert re.fullmatch(r"(\d\d|R\d)-[a-z]+(-[a-z0-9]+)+", path.stem)


@each_notebook
def test_the_title_is_a_question_and_the_sections_are_there(path: Path):
    found = headings(path)
    (title,) = [text for level, text in found if level == 1]
    assert title.endswith("?")
    assert found[0] == (1, title)
    lesson = next(lesson for lesson in progress.lessons() if lesson.id == lesson_id(path))
    assert lesson.title == title
    second = [text for level, text in found if level == 2]
    assert set(SECTIONS) <= set(second)
    assert any(text.startswith("Compared with") for text in second)
    assert "**Time and needs.**" in prose(path)


@each_notebook
def test_introduction_and_summary_are_also_chinese(path: Path):
    for name in ("导言", "小结"):
        found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", prose(path), re.MULTILINE | re.DOTALL)
        assert found, name
        assert len(re.findall(r"[一-鿿]", found[1])) >= 80, name


@each_notebook
def test_parameters_are_one_cell_of_plain_values(path: Path):
    (cell,) = [cell for cell in code(path) if "parameters" in tags(cell)]
    allowed = r"(#.*|\w+ = (-?[\d_.e-]+|\"[^\"]*\"|True|False|None)\s*(#.*)?|)"
    for line in cell.source.splitlines():
        assert re.fullmatch(allowed, line), line


@each_notebook
def test_cells_are_small_and_run_no_shell(path: Path):
    sizes = [len(cell.source.splitlines()) for cell in code(path)]
    assert max(sizes) <= LONGEST_CELL
    assert sum(sizes) <= MOST_CODE
    for cell in code(path):
        assert not re.search(r"^\s*[!]|^\s*%(?!%rust|load_ext)|get_ipython", cell.source, re.M)
    assert path.stat().st_size <= LARGEST_BYTES


@each_notebook
def test_what_is_committed_is_clean(path: Path):
    notebook = script.read(path)
    assert script.clean(copy.deepcopy(notebook)) == notebook
    text = path.read_text("utf-8")
    for place in (str(ROOT), str(Path.home()) + "/", "/tmp/"):
        assert json.dumps(place)[1:-1] not in text
    for cell in code(path):
        assert all(output.output_type != "error" for output in cell.outputs)


@each_notebook
def test_every_figure_says_in_words_what_it_shows(path: Path):
    for cell in code(path):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt", "")
                assert len(alt) > 30, cell.source
    for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", prose(path)):
        assert len(alt) > 30, target


@each_notebook
def test_a_widget_has_a_static_figure_before_it(path: Path):
    found = code(path)
    widgets = [number for number, cell in enumerate(found) if "widget" in tags(cell)]
    assert widgets
    for number in widgets:
        assert "nbval-ignore-output" in tags(found[number])
        assert any("image/png" in output.get("data", {}) for output in found[number - 1].outputs)


@each_notebook
def test_exercises_are_checked_and_their_stubs_do_not_pass(path: Path):
    asked = [cell for cell in code(path) if "exercise" in tags(cell)]
    lesson = lesson_id(path)
    assert tuple(map(exercise_of, asked)) == progress.exercises(lesson)
    assert set(solutions(path)) == set(progress.exercises(lesson))
    for cell in asked:
        shown = "".join(output.get("text", "") for output in cell.outputs)
        last = shown.splitlines()[-1]
        assert last[:1] in "○✗", shown
        assert exercise_of(cell) in last
    others = [cell for cell in code(path) if cell not in asked]
    assert not [cell.source for cell in others if "airust.check(" in cell.source]
