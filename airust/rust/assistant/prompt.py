"""What the model is told about one error: the message, and the code around every place it names.

Rust's notes often name the real cause ("value moved here"), so that their places count as well as
the error's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from airust.rust.assistant.changelog import FORMAT
from airust.rust.diagnostics import Diagnostic
from airust.types import Message

AROUND = 50  # lines before and behind each place, as in the paper


def repair_messages(
    error: Diagnostic, files: Mapping[str, str], command: str, around: int = AROUND
) -> tuple[Message, ...]:
    """The conversation that asks for a change."""
    task = (
        "You repair Rust programs. Below are an error of the compiler and the code that it is "
        "about, each line with its number. Change as little as possible and keep what the program "
        "does. "
        "Use no unsafe code and no unstable feature. Answer in exactly this form, with more "
        "ChangeLog parts if more places must change; copy the original lines exactly:"
    )
    parts = [f"`{command}` says:", "", error.text.strip()]
    for name, shown in _shown_lines(error, files, around).items():
        parts += ["", f"{name}:", *shown]
    return (Message("system", f"{task}\n\n{FORMAT}"), Message("user", "\n".join(parts)))


def _shown_lines(error: Diagnostic, files: Mapping[str, str], around: int) -> dict[str, list[str]]:
    """Numbered lines of each file; a gap is a line of dots."""
    wanted: dict[str, set[int]] = {}
    for span in error.all_spans():
        if span.file in files:
            lines = range(span.line - around, span.end_line + around + 1)
            wanted.setdefault(span.file, set()).update(lines)
    shown: dict[str, list[str]] = {}
    for name, numbers in wanted.items():
        out: list[str] = []
        last = 0
        for number, line in enumerate(files[name].splitlines(), start=1):
            if number in numbers:
                out += ["..."] if number > last + 1 else []
                out.append(f"[{number}] {line}")
                last = number
        shown[name] = out
    return shown
