"""The report, and the table in a document."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.types import UserError
from airust.watch.answers import Entry
from airust.watch.ask import Outcome
from airust.watch.known import Record
from airust.watch.report import write_report
from airust.watch.table import BEGIN, END, split_document, update_table
from airust.watch.topics import Topic, Watchlist

TODAY, EARLIER = "2026-01-09", "2026-01-02"
TOPICS = (
    Topic("crate", "burn", "frameworks | more", "Models"),
    Topic("crate", "new-crate", "just listed", "Models"),
    Topic("crate", "silent", "never answered", "Tools"),
    Topic("package", "torch", "tensors"),
    Topic("paper", "Repair", query="x"),
    Topic("repository", "a/b"),
)
KNOWN = {
    "crate burn": Record((Entry("0.22.1", "MIT"),), TODAY, TODAY, (Entry("0.21.0"),)),
    "crate new-crate": Record((Entry("1.0"),), TODAY, TODAY),
    "package torch": Record((Entry("2.13.0"),), TODAY, EARLIER, (Entry("2.12.0"),)),
    "paper Repair": Record(
        (
            Entry("2501.1", "A *new* one", "2026-01-08", "https://arxiv.org/abs/2501.1"),
            Entry("old"),
        ),
        TODAY,
        TODAY,
        (Entry("old"),),
    ),
    "repository a/b": Record((Entry("v1", url="javascript:alert(1)"),), EARLIER, EARLIER),
}
OUTCOME = Outcome(
    KNOWN,
    {"crate burn"},
    {"crate silent": "cargo says: nothing", "repository a/b": "no connection"},
)


def report() -> str:
    return write_report(Watchlist(TOPICS), OUTCOME, TODAY)


def section(title: str) -> str:
    return report().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_it_begins_with_numbers():
    assert report().startswith(
        "# Research watch, 2026-01-09\n\nTopics: 6. Answered: 4. No answer: 2. Changed: 2. "
        "Watched for the first time: 1.\n"
    )


def test_changes_with_what_was_before():
    changed = section("What changed")
    assert "- **burn** 0.21.0 → 0.22.1 (MIT)" in changed
    assert "[2501.1](https://arxiv.org/abs/2501.1), A \\*new\\* one, 2026-01-08" in changed
    assert "old" not in changed
    assert "torch" not in changed  # changed on another day


def test_what_is_new_on_the_list():
    assert "- **new-crate** 1.0" in section("Watched for the first time")


def test_who_did_not_answer_and_what_is_known_from_when():
    silent = section("No answer")
    assert "cargo says: nothing. Topics: silent (nothing known yet)." in silent
    assert "GitHub: no connection. Topics: a/b (known from 2026-01-02)." in silent


def test_everything_with_its_dates():
    table = section("All that is known")
    assert "| burn (crate) | frameworks \\| more | 0.22.1 | 2026-01-09 | 2026-01-09 |" in table
    assert "| torch (package) | tensors | 2.13.0 | 2026-01-02 | 2026-01-09 |" in table
    assert "silent" not in table
    assert "javascript" not in report()


def test_an_interrupted_run_says_so():
    text = write_report(Watchlist(TOPICS), Outcome(KNOWN, stopped=True), TODAY)
    assert "was stopped before its end" in text


def test_the_table_is_written_between_the_markers(tmp_path: Path):
    document = tmp_path / "a.md"
    document.write_text(f"before\n{BEGIN}\nold table\n{END}\nafter\n", "utf-8")
    for _ in range(2):  # again: the same
        update_table(document, TOPICS, KNOWN)
        text = document.read_text("utf-8")
        assert text.startswith(f"before\n{BEGIN}\n\n**Models**\n\n| Name |")
        assert text.endswith(f"|\n\n{END}\nafter\n")
        assert "| `burn` | frameworks \\| more | 0.22.1 | MIT | 2026-01-09 |" in text
        assert "**Tools**" in text
        assert "| `silent` | never answered | no answer yet | | |" in text
        assert "old table" not in text
        assert "torch" not in text  # has no group


@pytest.mark.parametrize("text", ["none", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_document_without_its_markers(tmp_path: Path, text: str):
    (tmp_path / "a.md").write_text(text, "utf-8")
    with pytest.raises(UserError, match="once each, in this order"):
        split_document(tmp_path / "a.md")


def test_no_document(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        split_document(tmp_path / "none.md")
