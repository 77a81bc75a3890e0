"""The compiler's own advice as an engine: the baseline that a language model has to beat.

Many errors end in ``help:`` with the line as it might be. This engine reads that from the prompt
and gives it back in the form of a changelog, as a model would; with no advice in the prompt it says
so. `cargo fix` is a stricter relative: it applies only advice that the compiler is sure of (25 of
the 270 micro-benchmarks of the RustAssistant paper).
"""

from __future__ import annotations

import re
from typing import ClassVar

from airust.engines.dummy import DummyEngine
from airust.types import Request

# "3 |     let b = a.clone();", "3 ~ ...", "3 + ...", "3 - ..." below a "help:"
_ADVICE = re.compile(r"^ *(?P<line>\d+) *(?P<mark>[|~+-]) ?(?P<code>.*)$")
_PLACE = re.compile(r"^ *--> (?P<file>.+?):\d+:\d+$", flags=re.MULTILINE)
_NUMBERED = re.compile(r"^\[(?P<line>\d+)\] (?P<code>.*)$", flags=re.MULTILINE)


class AdviceEngine(DummyEngine):
    """Answers a repair prompt with what the compiler advises."""

    name: ClassVar[str] = "advice"

    def prepare(self, request: Request) -> list[str]:
        """The answer in one piece."""
        prompt = request.messages[-1].content if request.messages else request.prompt or ""
        return [follow_advice(prompt)]


def follow_advice(prompt: str) -> str:
    """The first advice in a repair prompt as a changelog, or a sentence that there is none."""
    place = _PLACE.search(prompt)
    change = _first_change(prompt)
    if place is None or change is None:
        return "The compiler gives no advice."
    line, new = change
    code = {int(found["line"]): found["code"] for found in _NUMBERED.finditer(prompt)}
    if line not in code:
        return "The compiler's advice is about another file."
    fixed = "\n".join(f"[{line + n}] {text}" for n, text in enumerate(new or [code[line]]))
    return (
        f"ChangeLog:1@{place['file']}\nFixDescription: the compiler's advice\n"
        f"OriginalCode@{line}-{line}:\n[{line}] {code[line]}\n"
        f"FixedCode@{line}-{line + len(new) - 1}:\n{fixed}\n"
    )


def _first_change(prompt: str) -> tuple[int, list[str]] | None:
    """Line number and new lines of the first advice that changes code.

    rustc writes a changed line with ``+`` or ``~`` below the changed part, a replaced one as ``-``
    and ``+``, several new lines as ``~``, and a line to be put in as ``+`` alone.
    """
    for text in re.split(r"^ *(?:= )?help: ", prompt, flags=re.MULTILINE)[1:]:
        advice = text.split("\n\n")[0]
        rows = [row for row in map(_ADVICE.match, advice.splitlines()) if row]
        marks = {row["mark"] for row in rows}
        underlined = re.search(r"^ +\| +[+~ ]*[+~] *$", advice, flags=re.MULTILINE)
        if not rows or not (underlined or marks & set("~+")):
            continue
        line = int(rows[0]["line"])
        if "~" in marks:
            return line, [row["code"] for row in rows if row["mark"] == "~"]
        new = [row["code"] for row in rows if row["mark"] in "|+" and int(row["line"]) == line]
        if "+" in marks and "-" not in marks:
            there = re.search(rf"^\[{line}\] (.*)$", prompt, flags=re.MULTILINE)
            new.append(there[1] if there else "")
        return line, new
    return None
