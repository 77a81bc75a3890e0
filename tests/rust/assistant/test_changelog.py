"""Answers are applied exactly or turned down."""

from __future__ import annotations

import pytest

from airust.rust.assistant.changelog import Edit, RejectedError, apply_edits, parse_changelog

ANSWER = """Here is the change:

ChangeLog:1@src/main.rs
FixDescription: borrow instead of move
OriginalCode@4-5:
[4]     let b = a;
[5]     use_it(b);
FixedCode@4-6:
[4]     let b = &a;
[5]
[6]     use_it(b);
OriginalCode@9-9:
[9] }
FixedCode@9-9:

ChangeLog:2@src/other.rs
FixDescription: and take a reference
OriginalCode@1-1:
[1] fn use_it(s: String) {}
FixedCode@1-1:
[1] fn use_it(s: &String) {}
```
Done.
"""


def test_an_answer_with_several_changes():
    first, second, third = parse_changelog(ANSWER)
    assert first == Edit(
        "src/main.rs", 4, ("    let b = a;", "    use_it(b);"),
        ("    let b = &a;", "", "    use_it(b);"), "borrow instead of move",
    )  # fmt: skip
    assert (second.first, second.original, second.fixed) == (9, ("}",), ())
    assert (third.file, third.description) == ("src/other.rs", "and take a reference")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("I cannot repair this.", "no change in the form"),
        ("ChangeLog:1@a.rs\nOriginalCode@1-2:\n[1] x\nFixedCode@1-1:\n[1] y", "has 1 lines"),
        ("ChangeLog:1@a.rs\nOriginalCode@1-1:\n[1] x\nThe end", "FixedCode does not follow"),
        ("OriginalCode@1-1:\n[1] x\nFixedCode@1-1:\n[1] y", "before any ChangeLog"),
    ],
)
def test_incomplete_answers_are_turned_down(answer: str, reason: str):
    with pytest.raises(RejectedError, match=reason):
        parse_changelog(answer)


FILES = {"a.rs": "one\ntwo  \nthree\n", "b.rs": "unsafe { x() }\n"}


def test_edits_of_one_file_keep_to_the_old_numbers():
    edits = [Edit("a.rs", 1, ("one",), ("1", "1.5")), Edit("a.rs", 3, ("three",), ())]
    assert apply_edits(FILES, edits)["a.rs"] == "1\n1.5\ntwo  \n"


def test_blanks_at_the_end_of_a_line_do_not_count():
    assert apply_edits(FILES, [Edit("a.rs", 2, ("two",), ("2",))])["a.rs"] == "one\n2\nthree\n"


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([Edit("c.rs", 1, ("one",), ())], "no file c.rs"),
        ([Edit("a.rs", 3, ("three", "four"), ())], "only 3 lines"),
        ([Edit("a.rs", 0, ("one",), ())], "only 3 lines"),
        ([Edit("a.rs", 1, (" one",), ("1",))], "not what a.rs has at line 1"),
        ([Edit("a.rs", 1, ("one",), ("one",))], "nothing would change"),
        ([Edit("a.rs", 1, ("one", "two"), ()), Edit("a.rs", 2, ("two",), ())], "overlap"),
        ([Edit("a.rs", 1, ("one",), ("unsafe { one }",))], "brings in `unsafe`"),
        ([Edit("a.rs", 1, ("one",), ("todo!()",))], "brings in `todo!`"),
    ],
)
def test_what_does_not_fit_is_turned_down(edits: list[Edit], reason: str):
    with pytest.raises(RejectedError, match=reason):
        apply_edits(FILES, edits)


def test_unsafe_that_was_there_may_stay():
    changed = apply_edits(FILES, [Edit("b.rs", 1, ("unsafe { x() }",), ("unsafe { y() }",))])
    assert changed["b.rs"] == "unsafe { y() }\n"
