"""Which sources are asked for how long, and what is made of it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from airust.watch.answers import Absent, Answer, Entry, NoAnswer, Refused
from airust.watch.ask import ask_all
from airust.watch.known import Record
from airust.watch.topics import Topic, Watchlist

TODAY = "2026-01-09"
CRATES = tuple(Topic("crate", f"c{number}") for number in range(6))


class Script:
    """A source that follows a script: a version, or an error."""

    name = "script"

    def __init__(self, *script: str | BaseException) -> None:
        self.script = list(script)
        self.asked: list[str] = []

    def ask(self, topic: Topic, before: Mapping[str, Entry]) -> Answer:
        self.asked.append(topic.name)
        item = self.script.pop(0)
        if isinstance(item, BaseException):
            raise item
        return Answer((Entry(item),), datetime.date(2026, 1, 9))


def test_a_silent_source_is_left_alone_after_three_questions():
    source = Script("1.0", *[NoAnswer("no connection")] * 3)
    outcome = ask_all(Watchlist(CRATES), {}, {"crate": source}, TODAY)
    assert source.asked == ["c0", "c1", "c2", "c3"]
    assert outcome.answered == {"crate c0"}
    assert [outcome.unanswered[f"crate c{number}"] for number in range(1, 6)] == [
        *["no connection"] * 3, *["no connection, so not asked in this run"] * 2
    ]  # fmt: skip


def test_a_source_that_answers_now_and_then_is_asked_to_the_end():
    silence, absent = NoAnswer("no connection"), Absent("no such crate")
    source = Script(silence, silence, absent, silence, silence, "1.0")
    outcome = ask_all(Watchlist(CRATES), {}, {"crate": source}, TODAY)
    assert outcome.answered == {"crate c5"}
    assert outcome.unanswered["crate c2"] == "no such crate"


def test_a_source_that_wants_no_more_is_not_asked_again():
    source = Script("1.0", Refused("its limit is reached"))
    outcome = ask_all(Watchlist(CRATES), {}, {"crate": source}, TODAY)
    assert source.asked == ["c0", "c1"]
    assert outcome.unanswered["crate c1"] == "its limit is reached"
    assert outcome.unanswered["crate c5"] == "its limit is reached, so not asked in this run"


def test_one_silent_source_does_not_silence_the_others():
    topics = (*CRATES, Topic("package", "p"))
    sources = {"crate": Script(*[NoAnswer("no connection")] * 3), "package": Script("2.0")}
    outcome = ask_all(Watchlist(topics), {}, sources, TODAY)
    assert outcome.answered == {"package p"}


def test_what_is_known_stays_when_nobody_answers():
    known = {"crate c0": Record((Entry("0.9"),), "2026-01-01", "2026-01-01")}
    outcome = ask_all(Watchlist(CRATES[:1]), known, {"crate": Script(NoAnswer("x"))}, TODAY)
    assert outcome.known == known


def test_ctrl_c_keeps_what_was_answered():
    source = Script("1.0", NoAnswer("no connection"), KeyboardInterrupt())
    outcome = ask_all(Watchlist(CRATES[:4]), {}, {"crate": source}, TODAY)
    assert outcome.stopped
    assert outcome.known["crate c0"].entries == (Entry("1.0"),)
    assert outcome.unanswered["crate c1"] == "no connection"
    assert outcome.unanswered["crate c3"] == "not asked: stopped by Ctrl+C"


def test_kinds_without_a_source_are_not_asked():
    outcome = ask_all(Watchlist(CRATES[:1]), {}, {}, TODAY)
    assert outcome.unanswered == {"crate c0": "not asked in this run"}
    assert not outcome.stopped
