"""What survives a run that ends in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.bench.journal import Journal, read_records
from airust.bench.pace import Status, Steps, seconds_for
from airust.types import UserError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "raw.jsonl"


def test_the_same_keys_are_found_again(path: Path) -> None:
    journal = Journal(path)
    journal.add(["launch", "tiny", "torch", 0], {"values": {"水": [1.0]}})
    assert journal.find(["launch", "tiny", "torch", 1]) is None
    again = Journal(path)
    assert again.records == journal.records
    assert again.find(["launch", "tiny", "torch", 0]) == journal.records[0]


def test_a_line_that_was_cut_off_is_not_there(path: Path) -> None:
    journal = Journal(path)
    journal.add(["a"], {})
    with path.open("a") as file:
        file.write('{"key": ["b"], "val')  # killed while it wrote
    again = Journal(path)
    assert [record["key"] for record in again.records] == [["a"]]
    again.add(["b"], {"value": 1})
    assert [record["key"] for record in read_records(path)] == [["a"], ["b"]]


def test_the_first_line_cut_off_leaves_nothing(path: Path) -> None:
    path.write_text('{"key"')
    assert read_records(path) == []
    assert path.read_text() == ""


@pytest.mark.parametrize("text", ["hello\n", "[1]\n", '{"no": "key"}\n', '{"key": "a"}\n'])
def test_something_else_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError, match="is not the record of a benchmark run"):
        Journal(path)


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cannot write"):
        Journal(tmp_path / "missing" / "raw.jsonl").add(["a"], {})


def test_a_step_is_done_once_and_told(path: Path) -> None:
    told: list[Status] = []
    steps = Steps(Journal(path), told.append, lambda: 12.0)
    assert steps.once(["parity", "tiny", "torch"], lambda: {"n": 1})["n"] == 1
    assert steps.once(["parity", "tiny", "torch"], lambda: {"n": 2})["n"] == 1
    assert [(status.what, status.left_s) for status in told] == [("parity: tiny: torch", 12.0)]
    assert steps.spent() == steps.spent("parity") >= 0 == steps.spent("launch")


def test_a_step_that_fails_has_no_record(path: Path) -> None:
    steps = Steps(Journal(path), lambda _: None, lambda: 0.0)
    with pytest.raises(ZeroDivisionError):
        steps.do(["a"], lambda: {"n": 1 // 0})
    assert steps.journal.find(["a"]) is None


def test_the_time_left_is_learnt_from_the_nearest_kin() -> None:
    records = [
        {"key": ["launch", "tiny", "torch", 0], "seconds": 2.0},
        {"key": ["launch", "tiny", "torch", 1], "seconds": 4.0},
        {"key": ["launch", "large", "torch", 0], "seconds": 30.0},
    ]
    assert seconds_for([["launch", "tiny", "torch", 2]], records) == 3.0
    assert seconds_for([["launch", "large", "other", 0]], records) == 30.0
    assert seconds_for([["launch", "huge", "torch", 0]], records) == 12.0
    assert seconds_for([["parity", "tiny", "torch"]], records) > 0  # a guess
