"""A project whose judge is a table, so that the loop can be tested without a compiler."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airust.rust.diagnostics import Diagnostic, Span


def error(message: str, line: int = 1, file: str = "a.rs", code: str = "E0308") -> Diagnostic:
    span = Span(file, line, 1, line, 2, True, "")
    return Diagnostic("error", message, code, (span,), (), f"error[{code}]: {message}\n")


class FakeProject:
    """Every line that says `bad N` is an error of that message; `two` are two errors."""

    shown_command = "rustc a.rs"

    def __init__(self, text: str) -> None:
        self.original = {"a.rs": text}
        self.files = dict(self.original)
        self.checks = 0

    def read(self) -> dict[str, str]:
        return dict(self.files)

    def write(self, files: dict[str, str]) -> None:
        self.files.update(files)

    def check(self) -> list[Diagnostic]:
        self.checks += 1
        lines = enumerate(self.files["a.rs"].splitlines(), start=1)
        return [error(text, number) for number, text in lines if text.startswith("bad")]


def change(line: int, old: str, *new: str, file: str = "a.rs") -> str:
    """An answer in the form that is asked for."""
    fixed = "\n".join(f"[{line + n}] {text}" for n, text in enumerate(new))
    return (
        f"ChangeLog:1@{file}\nFixDescription: mend line {line}\nOriginalCode@{line}-{line}:\n"
        f"[{line}] {old}\nFixedCode@{line}-{line}:\n{fixed}\n"
    )


@pytest.fixture
def project() -> Callable[[str], FakeProject]:
    return FakeProject
