"""What was known: news are found once, on the day they come, and never lost."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from airust.types import UserError
from airust.watch.answers import Answer, Entry
from airust.watch.known import Record, learn, read_known, write_known

DAY = datetime.date(2026, 1, 9)


def answer(*ids: str) -> Answer:
    return Answer(tuple(Entry(name) for name in ids), DAY)


def ids(entries: tuple[Entry, ...] | None) -> list[str] | None:
    return None if entries is None else [entry.id for entry in entries]


def test_two_changes_on_one_day_are_both_news():
    record = learn(None, answer("a", "b"), "2026-01-05")
    record = learn(record, answer("c", "a"), "2026-01-09")
    record = learn(record, answer("d", "c"), "2026-01-09")
    assert ids(record.news()) == ["d", "c"]
    assert ids(record.before) == ["a", "b"]


def test_no_change_keeps_the_day_of_the_last_one():
    record = learn(None, answer("1.0"), "2026-01-05")
    record = learn(record, answer("1.0"), "2026-01-07")
    assert (record.changed, record.asked) == ("2026-01-05", "2026-01-09")


def test_what_leaves_a_list_is_no_news():
    record = learn(None, answer("a", "b", "c"), "2026-01-05")
    assert learn(record, answer("a", "b"), "2026-01-09").changed == "2026-01-05"


def test_a_version_that_is_taken_back_is_news():
    record = learn(None, answer("1.1"), "2026-01-05")
    record = learn(record, answer("1.0"), "2026-01-09")
    assert ids(record.news()) == ["1.0"]


def test_the_first_day_stays_the_first():
    record = learn(None, answer("1.0"), "2026-01-09")
    record = learn(record, answer("1.1"), "2026-01-09")
    assert record.before is None


def test_records_survive_the_file(tmp_path: Path):
    known = {
        "crate a": Record((Entry("1", "MIT", "2026-01-01", "https://x"),), "d", "e", (Entry("0"),)),
        "paper 水": Record((), "d", "e"),
    }
    write_known(tmp_path / "new" / "known.json", known)
    assert read_known(tmp_path / "new" / "known.json") == known
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["known.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "topics": {"a": {}}}'])
def test_a_damaged_file_is_not_overwritten(tmp_path: Path, text: str):
    (tmp_path / "known.json").write_text(text)
    with pytest.raises(UserError, match="mend it or move it away"):
        read_known(tmp_path / "known.json")


def test_nothing_known_yet(tmp_path: Path):
    assert read_known(tmp_path / "known.json") == {}
