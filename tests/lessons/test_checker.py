"""airust.check: one line a verdict, whatever the answer does."""

from __future__ import annotations

from pathlib import Path

import pytest

import airust
from airust.lessons import checker, progress
from airust.lessons.checker import Wrong, close, judge
from airust.types import UserError


@pytest.fixture(autouse=True)
def own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home" / "progress.json"
    monkeypatch.setenv("AIRUST_PROGRESS", str(path))
    return path


@pytest.fixture
def square(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exercise nb00.ex1 that wants a function."""

    def test(answer):
        if answer(3) != 9:
            raise Wrong("Multiply the number with itself.")

    monkeypatch.setattr(checker, "_find", lambda exercise_id: test)


def test_a_right_answer_is_remembered(square, capsys, own_progress):
    airust.check("nb00.ex1", lambda x: x * x)
    assert capsys.readouterr().out == "✓ nb00.ex1\n"
    assert progress.passed() == {"nb00.ex1"}
    assert [p.name for p in own_progress.parent.iterdir()] == ["progress.json"]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (lambda x: x + x, "✗ nb00.ex1  Multiply the number with itself."),
        (lambda x: None, "○ nb00.ex1  not answered yet: your function returns None"),
        (..., "○ nb00.ex1  not answered yet"),
        (None, "○ nb00.ex1  not answered yet"),
        (lambda x: x / 0, "✗ nb00.ex1  Checking your answer raised ZeroDivisionError: "),
        (lambda: 9, "✗ nb00.ex1  Checking your answer raised TypeError: "),
        ("nine", "✗ nb00.ex1  Checking your answer raised TypeError: "),
    ],
)
def test_another_answer_gets_one_line_and_no_traceback(square, capsys, answer, line):
    airust.check("nb00.ex1", answer)
    out = capsys.readouterr().out
    assert out.startswith(line)
    assert out.count("\n") == 1
    assert progress.passed() == frozenset()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nb00.ex99", "There is no exercise 'nb00.ex99'; this lesson has nb00.ex1"),
        ("nb00.judge", "There is no exercise 'nb00.judge'"),
        ("nb99.ex1", "There is no lesson 'nb99'"),
        ("checker.ex1", "There is no lesson 'checker'"),
        ("", "There is no lesson ''"),
    ],
)
def test_an_unknown_exercise_is_a_clear_error(name, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        judge(name, 1)


@pytest.mark.parametrize("found", [float("nan"), 2.0, "2", None, [1]])
def test_close_refuses_what_is_not_close(found):
    with pytest.raises(Wrong, match="hint"):
        close(found, 1.0, 0.1, "hint")


def test_close_takes_anything_that_is_a_number():
    import numpy as np

    close(np.float32(1.05), 1.0, 0.1, "hint")
    close(True, 1.0, 0.1, "hint")
    close("1", 1.0, 0.1, "hint")
