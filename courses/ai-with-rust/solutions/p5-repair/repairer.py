"""An engine that repairs compile errors by rules: the baseline that your model has to beat."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from airust.engines.dummy import DummyEngine
from airust.rust.assistant.advice import follow_advice
from airust.rust.assistant.changelog import FORBIDDEN
from airust.types import Request

UNKNOWN = "I do not know."


@dataclass(frozen=True)
class Broken:
    """What a repair prompt says."""

    code: str  # "E0502"
    message: str  # of the compiler, behind the code
    file: str
    line: int  # that the error is about, the first `-->`
    lines: dict[int, str]  # the source lines that are shown, by their numbers


def read_prompt(prompt: str) -> Broken | None:
    """The error in a prompt of `airust.rust.assistant.prompt.repair_messages`; None without one."""
    error = re.search(r"^error(?:\[(E\d+)\])?: (.*)$", prompt, re.M)
    place = re.search(r"^ *--> (.+?):(\d+):\d+$", prompt, re.M)
    if error is None or place is None:
        return None
    shown = re.finditer(r"^\[(\d+)\] (.*)$", prompt, re.M)
    lines = {int(found[1]): found[2] for found in shown}
    return Broken(error[1] or "", error[2], place[1], int(place[2]), lines)


def changelog(file: str, line: int, old: str, new: Sequence[str], why: str) -> str:
    """An answer that replaces one line by others, in the form that `changelog.FORMAT` shows."""
    fixed = "".join(f"[{line + n}] {text}\n" for n, text in enumerate(new))
    return (
        f"ChangeLog:1@{file}\nFixDescription: {why}\nOriginalCode@{line}-{line}:\n"
        f"[{line}] {old}\nFixedCode@{line}-{line + len(new) - 1}:\n{fixed}"
    )


def copy_what_is_borrowed(broken: Broken) -> str | None:
    """`let first = &values[0];` keeps `values` from being changed: let it be a copy."""
    for number in range(broken.line, 0, -1):
        old = broken.lines.get(number, "")
        if found := re.fullmatch(r"(\s*let \w+(?:: [^=]+)? = )&(?!mut )(.+);", old):
            new = f"{found[1]}&{found[2]}.clone();"
            return changelog(broken.file, number, old, [new], "borrow from a copy")
    return None


def convert_the_index(broken: Broken) -> str | None:
    """Only a usize is an index."""
    old = broken.lines.get(broken.line, "")
    new = re.sub(r"\[(\w+)\]", r"[\1 as usize]", old)
    if "cannot be indexed by" not in broken.message or new == old:
        return None
    return changelog(broken.file, broken.line, old, [new], "an index is a usize")


RULES: dict[str, Callable[[Broken], str | None]] = {
    "E0502": copy_what_is_borrowed,
    "E0505": copy_what_is_borrowed,
    "E0506": copy_what_is_borrowed,
    "E0277": convert_the_index,
}


class RuleEngine(DummyEngine):
    """Answers a repair prompt by rules, and where none fits, by the compiler's own advice."""

    name: ClassVar[str] = "rules"

    def prepare(self, request: Request) -> list[str]:
        """The answer in one piece."""
        prompt = request.messages[-1].content if request.messages else request.prompt or ""
        broken = read_prompt(prompt)
        rule = RULES.get(broken.code) if broken else None
        answer = rule(broken) if broken and rule else None
        answer = answer or follow_advice(prompt)
        useless = not answer.startswith("ChangeLog") or any(word in answer for word in FORBIDDEN)
        return [UNKNOWN if useless else answer]
