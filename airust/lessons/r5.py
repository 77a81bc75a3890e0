"""Can a language model repair a compile error, and who decides?

Checks of notebook R5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airust.lessons.broken_programs import PROGRAMS
from airust.lessons.checker import Wrong, close, digest, require
from airust.rust import Options, compile
from airust.rust.assistant.changelog import RejectedError, apply_edits, parse_changelog
from airust.rust.assistant.errors import ErrorKey
from airust.rust.assistant.prompt import repair_messages


def ex1(answer: Any) -> None:
    """Which parts of an error make its identity?"""
    require(isinstance(answer, set | list | tuple), "Give the names as a set of texts.")
    found = digest("r5.ex1", " ".join(sorted(str(part) for part in answer)))
    require(found == "65bcf577bb7f", "Every edit moves the lines below it. What stays the same?")


def ex2(answer: Any) -> None:
    """A changelog by hand."""
    require(isinstance(answer, str), "Write the changelog as a text between ''' and '''.")
    program = next(p for p in PROGRAMS if p.name == "index of the wrong type")
    try:
        changed = apply_edits({"a.rs": program.source}, parse_changelog(answer))
    except RejectedError as reason:
        raise Wrong(f"It is turned down: {reason}.") from None
    require(compile(changed["a.rs"], Options(library=True)).ok, "It can be applied, but not built.")


def ex3(answer: Any) -> None:
    """What belongs to the group after a change."""
    require(callable(answer), "Write a function of three sets.")
    a, b, c, d = (ErrorKey("E0308", text, "a.rs") for text in "abcd")
    cases: tuple[tuple[set[ErrorKey], ErrorKey, set[ErrorKey], set[ErrorKey]], ...] = (
        ({a, b}, a, {b}, set()),
        ({a, b}, a, {b, c}, {c}),
        ({a, b}, a, {a, b}, {a}),
        ({a}, a, {c, d}, {c, d}),
        ({a, b}, a, set(), set()),
    )
    for before, target, after, expected in cases:
        hint = "New errors, and the target itself if it is still there; nobody else's old ones."
        require(set(answer(before, target, after)) == expected, hint)


def ex4(answer: Any) -> None:
    """Wilson's interval for a rate."""
    for right, tried, low, high in ((252, 270, 0.8972, 0.9574), (25, 270, 0.0635, 0.1331)):
        found = answer(right, tried)
        hint = "Wilson's interval with z = 1.96: its centre is (p + z^2/2n) / (1 + z^2/n)."
        require(isinstance(found, tuple | list) and len(found) == 2, "Give (low, high).")
        close(found[0], low, 2e-3, hint)
        close(found[1], high, 2e-3, hint)


def ex5(answer: Any) -> None:
    """The best of several candidates."""
    choose: Callable[[list[int | None]], int | None] = answer
    cases: tuple[tuple[list[int | None], int], ...] = (
        ([3, 1, 2], 1), ([None, 4, None], 1), ([2, 2], 0), ([0], 0),
    )  # fmt: skip
    for counts, expected in cases:
        hint = "The index of the fewest errors; None is an answer that could not be applied."
        require(choose(counts) == expected, hint)
    require(choose([None, None]) == -1, "If no answer could be applied, give -1.")


def ex6(answer: Any) -> None:
    """A repairer of one's own for one class of errors."""
    require(callable(answer), "Write a function from the prompt's text to a changelog.")
    sources = (
        "pub fn f() -> usize {\n    let v = vec![1];\n    v.push(2);\n    v.len()\n}\n",
        "pub fn g() -> String {\n    let text = String::new();\n    text.push('a');\n    text\n}\n",
    )
    for source in sources:
        build = compile(source, Options(library=True))
        files = {"cell.rs": source}  # the name that rustc was given
        prompt = repair_messages(build.errors[0], files, "rustc cell.rs")[-1].content
        try:
            changed = apply_edits(files, parse_changelog(str(answer(prompt))))
        except RejectedError as reason:
            raise Wrong(f"Your changelog is turned down: {reason}.") from None
        good = compile(changed["cell.rs"], Options(library=True)).ok
        require(good, "The changelog can be applied, but the compiler still refuses the program.")
