"""When are two compile errors the same?

An edit moves everything below it, so an error's line cannot tell. As in the paper, code, message
and file do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airust.rust.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True, order=True)
class ErrorKey:
    """What identifies an error."""

    code: str
    message: str
    file: str  # of its first primary place; "" where it has none

    def __str__(self) -> str:
        code = f"[{self.code}] " if self.code else ""
        return f"{code}{self.message} ({self.file})" if self.file else f"{code}{self.message}"


def key_of(error: Diagnostic) -> ErrorKey:
    """The identity of an error."""
    primary = [span.file for span in error.spans if span.primary]
    return ErrorKey(error.code, error.message, primary[0] if primary else "")


def by_key(errors: Iterable[Diagnostic]) -> dict[ErrorKey, Diagnostic]:
    """Errors by identity, in the compiler's order; the first of those that are the same."""
    found: dict[ErrorKey, Diagnostic] = {}
    for error in errors:
        found.setdefault(key_of(error), error)
    return found
