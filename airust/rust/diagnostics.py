"""What the compiler says, as values: rustc's JSON messages with codes, places and advice.

``rendered`` is the very text that rustc prints, with its colours. The format is described in the
rustc book, chapter "JSON Output".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file. Lines and columns begin at 1; the end is behind the last character."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    primary: bool  # what the message is about; the others explain
    label: str  # what rustc writes beside it


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message, with the notes that belong to it."""

    level: str  # error, warning, note, help, ...
    message: str
    code: str  # "E0382", a lint's name, or ""
    spans: tuple[Span, ...]
    children: tuple[Diagnostic, ...]
    rendered: str  # as rustc prints it, with colours

    @property
    def text(self) -> str:
        """As rustc prints it, without colours."""
        return _ANSI.sub("", self.rendered)

    @property
    def is_error(self) -> bool:
        """Whether it keeps the program from being built."""
        return self.level.startswith("error")

    def all_spans(self) -> Iterable[Span]:
        """Its own places and those of its notes, primary ones first."""
        yield from sorted(self.spans, key=lambda span: not span.primary)
        for child in self.children:
            yield from child.all_spans()


def parse_diagnostics(lines: Iterable[str]) -> list[Diagnostic]:
    """The messages among the lines that rustc or cargo wrote as JSON; other lines are passed over.

    "aborting due to 2 previous errors" and the pointer to ``rustc --explain`` are left out, as
    cargo does.

    >>> line = '{"message": "oh", "code": {"code": "E0382"}, "level": "error", "spans": []}'
    >>> [(d.level, d.code, d.message) for d in parse_diagnostics([line, "not JSON"])]
    [('error', 'E0382', 'oh')]
    """
    found = []
    for line in lines:
        if not line.startswith("{"):
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("reason") == "compiler-message":
            record = record["message"]
        if "level" in record and "spans" in record:
            diagnostic = _diagnostic(record)
            if diagnostic.level != "failure-note" and not _is_summary(diagnostic):
                found.append(diagnostic)
    return found


def _is_summary(diagnostic: Diagnostic) -> bool:
    summaries = ("aborting due to ", "For more information about ")
    counted = re.fullmatch(r"\d+ warnings? emitted", diagnostic.message)
    return not diagnostic.spans and (diagnostic.message.startswith(summaries) or bool(counted))


def _diagnostic(record: Mapping[str, Any]) -> Diagnostic:
    return Diagnostic(
        record["level"],
        record["message"],
        (record.get("code") or {}).get("code", ""),
        tuple(_span(span) for span in record["spans"]),
        tuple(_diagnostic(child) for child in record.get("children", ())),
        record.get("rendered") or "",
    )


def _span(record: Mapping[str, Any]) -> Span:
    # What a macro of the standard library wrote is of interest where the macro was called.
    while (expansion := record.get("expansion")) and not _is_own(record["file_name"]):
        record = expansion["span"] | {
            "is_primary": record["is_primary"],
            "label": record["label"],
        }
    return Span(
        record["file_name"],
        record["line_start"],
        record["column_start"],
        record["line_end"],
        record["column_end"],
        record["is_primary"],
        record["label"] or "",
    )


def _is_own(file: str) -> bool:
    return not file.startswith(("/rustc/", "<")) and "/library/" not in file
