"""An engine that repairs compile errors by rules: the baseline that your model has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from airust.engines.dummy import DummyEngine
from airust.types import Request


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
    ...


def changelog(file: str, line: int, old: str, new: Sequence[str], why: str) -> str:
    """An answer that replaces one line by others, in the form that `changelog.FORMAT` shows."""
    ...


class RuleEngine(DummyEngine):
    """Answers a repair prompt by rules, and where none fits, by the compiler's own advice."""

    name: ClassVar[str] = "rules"

    def prepare(self, request: Request) -> list[str]:
        """The answer in one piece."""
        return ["I do not know."]
