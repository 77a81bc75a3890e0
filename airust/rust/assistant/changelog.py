"""The model's answer: which lines to replace by what.

    ChangeLog:1@src/main.rs
    FixDescription: borrow instead of move
    OriginalCode@4-5:
    [4] let b = a;
    [5] use_it(b);
    FixedCode@4-5:
    [4] let b = &a;
    [5] use_it(b);

The original lines are asked for although they are known: they show that the model looks at the
place that it names. Where they do not match the file, the change is turned down, not guessed at.
The paper's ablation: whole snippets instead of this form repaired 16-18 commits of 182, the form
itself 65.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FORMAT = """ChangeLog:1@<file>
FixDescription: <what is changed and why, one line>
OriginalCode@<first line>-<last line>:
[<line number>] <the line as it is now>
FixedCode@<first line>-<last line>:
[<line number>] <the line as it should be>"""

_HEAD = re.compile(r"^\s*ChangeLog:\s*\d+\s*@\s*(?P<file>.+?)\s*$")
_DESCRIPTION = re.compile(r"^\s*FixDescription:\s*(?P<text>.*?)\s*$")
_ORIGINAL = re.compile(r"^\s*OriginalCode@(?P<first>\d+)-(?P<last>\d+):?\s*$")
_FIXED = re.compile(r"^\s*FixedCode@\d+-\d+:?\s*$")
_NUMBERED = re.compile(r"^\s*\[\d+\] ?(?P<code>.*)$")

# What makes an error go away without repairing it, or needs a compiler that users do not have.
FORBIDDEN = ("unsafe", "#![feature", "todo!", "unimplemented!", "compile_error!", "#[cfg(")


class RejectedError(Exception):
    """A change cannot be made; the message says why, for the log of the repair."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace some lines of a file."""

    file: str
    first: int  # the first line that is replaced, from 1
    original: tuple[str, ...]
    fixed: tuple[str, ...]  # may be more or fewer lines, or none
    description: str = ""


def parse_changelog(answer: str) -> list[Edit]:
    """The edits in an answer; what stands around them is passed over.

    Raises:
        RejectedError: there is no edit, or one is not complete.
    """
    edits: list[Edit] = []
    file = description = ""
    lines = iter(answer.splitlines())
    line = next(lines, None)
    while line is not None:
        if found := _HEAD.match(line):
            file, description = found["file"].strip("`<>\"'"), ""
        elif found := _DESCRIPTION.match(line):
            description = found["text"]
        elif found := _ORIGINAL.match(line):
            original, line = _numbered(lines)
            if line is None or not _FIXED.match(line):
                raise RejectedError("FixedCode does not follow OriginalCode")
            fixed, line = _numbered(lines)
            first, last = int(found["first"]), int(found["last"])
            if last - first + 1 != len(original):
                raise RejectedError(f"OriginalCode@{first}-{last} has {len(original)} lines")
            if not file:
                raise RejectedError("OriginalCode comes before any ChangeLog")
            edits.append(Edit(file, first, tuple(original), tuple(fixed), description))
            continue
        line = next(lines, None)
    if not edits:
        raise RejectedError("the answer holds no change in the form that was asked for")
    return edits


def _numbered(lines: Iterable[str]) -> tuple[list[str], str | None]:
    """The `[4] ...` lines that come next, and the line behind them."""
    found = []
    for line in lines:
        if code := _NUMBERED.match(line):
            found.append(code["code"].rstrip())
        elif line.strip() not in ("", "```", "```rust"):
            return found, line
    return found, None


def apply_edits(files: Mapping[str, str], edits: Iterable[Edit]) -> dict[str, str]:
    """The files after the edits; line numbers are those before any of them.

    >>> edit = Edit("a.rs", 2, ("let b = a;",), ("let b = &a;", "let c = b;"))
    >>> apply_edits({"a.rs": "// one\\nlet b = a;\\n"}, [edit])["a.rs"]
    '// one\\nlet b = &a;\\nlet c = b;\\n'

    Raises:
        RejectedError: a file, line or original text is not there, edits overlap, nothing changes,
            or the change brings in what FORBIDDEN names.
    """
    changed = dict(files)
    lowest: dict[str, int] = {}
    for edit in sorted(edits, key=lambda e: e.first, reverse=True):
        if edit.file not in changed:
            raise RejectedError(f"there is no file {edit.file}")
        lines = changed[edit.file].splitlines()
        behind = edit.first - 1 + len(edit.original)
        if edit.first < 1 or behind > len(lines):
            raise RejectedError(f"{edit.file} has only {len(lines)} lines")
        if behind >= lowest.get(edit.file, len(lines) + 1):
            raise RejectedError("two changes overlap")
        there = [line.rstrip() for line in lines[edit.first - 1 : behind]]
        if there != [line.rstrip() for line in edit.original]:
            raise RejectedError(f"OriginalCode is not what {edit.file} has at line {edit.first}")
        lines[edit.first - 1 : behind] = edit.fixed
        changed[edit.file] = "\n".join(lines) + "\n"
        lowest[edit.file] = edit.first
    if changed == dict(files):
        raise RejectedError("nothing would change")
    for name, text in changed.items():
        for word in FORBIDDEN:
            if text.count(word) > files[name].count(word):
                raise RejectedError(f"it brings in `{word}`")
    return changed
