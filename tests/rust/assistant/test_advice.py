"""What the compiler advises, as a changelog."""

from __future__ import annotations

import pytest

from airust.rust.assistant.advice import AdviceEngine, follow_advice
from airust.rust.assistant.changelog import apply_edits, parse_changelog
from airust.types import Message, Request

SOURCE = "fn main() {\n    let a = b;\n    match a {\n        1 => 2,\n    }\n}\n"
CODE = "\n".join(f"[{n}] {line}" for n, line in enumerate(SOURCE.splitlines(), start=1))


def prompt(advice: str) -> str:
    """As ``repair_messages`` makes it, around this advice."""
    error = "error[E0000]: no\n --> a.rs:2:5\n  |\n2 |     let a = b;\n  |         ^\n  |"
    return f"`rustc a.rs` says:\n\n{error}\n{advice}\n\na.rs:\n{CODE}\n"


def changed(advice: str) -> list[str]:
    edits = parse_changelog(follow_advice(prompt(advice)))
    return apply_edits({"a.rs": SOURCE}, edits)["a.rs"].splitlines()


def test_a_part_of_a_line_is_added():
    advice = "help: consider cloning\n  |\n2 |     let a = b.clone();\n  |              ++++++++"
    assert changed(advice)[1:3] == ["    let a = b.clone();", "    match a {"]


def test_a_line_is_put_in():
    advice = "help: consider importing\n  |\n1 + use std::fmt;\n  |"
    assert changed(advice)[:2] == ["use std::fmt;", "fn main() {"]


def test_a_line_is_put_in_above_one_that_is_shown():
    advice = "help: annotate\n  |\n1 + #[inline]\n2 | fn main() {\n  |"
    assert changed(advice)[:3] == ["#[inline]", "fn main() {", "    let a = b;"]


def test_a_line_is_replaced():
    advice = "help: a name\n  |\n2 -     let a = b;\n2 +     let a = c;\n  |"
    assert changed(advice)[1] == "    let a = c;"


def test_several_lines_take_the_place_of_one():
    advice = "help: add an arm\n  |\n4 ~         1 => 2,\n5 ~         _ => 3,\n  |"
    assert changed(advice)[3:5] == ["        1 => 2,", "        _ => 3,"]


@pytest.mark.parametrize(
    "advice",
    [
        "help: the trait is implemented for\n --> /library/core.rs:3:1\n  |",
        "  = help: the trait `X` is not implemented\n  = note: it is not",
        "note: defined here\n  |\n2 |     let a = b;\n  |         ^",
        "help: a function with that name is there\n  |\n2 |     let a = b;\n  |         ^",
    ],
)
def test_places_and_words_are_no_changes(advice: str):
    assert follow_advice(prompt(advice)) == "The compiler gives no advice."


def test_it_is_an_engine():
    advice = "help: consider cloning\n  |\n2 |     let a = b.clone();\n  |              ++++++++"
    with AdviceEngine() as engine:
        answer = engine.generate(Request(messages=(Message("user", prompt(advice)),))).text
    assert answer == follow_advice(prompt(advice))
