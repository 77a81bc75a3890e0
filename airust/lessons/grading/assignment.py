"""The manifest of an assignment, read strictly: what is misspelt is said, not passed over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from airust.types import UserError

MANIFEST = "assignment.toml"
FULL = 100  # points of every assignment
_LEFT_OUT = {"solutions", "target"}

Points = Annotated[int, msgspec.Meta(gt=0)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Tests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tests in one language, and what each is worth."""

    points: dict[str, Points]  # by the name of the test, in the order of the manifest
    timeout_s: Seconds = 20.0  # of each test
    release: bool = False  # Rust: optimised


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    edit: list[str]
    rust: Tests | None = None
    python: Tests | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One folder of a course."""

    folder: Path
    title: str
    edit: tuple[str, ...]  # the files that a learner changes
    rust: Tests | None = None
    python: Tests | None = None

    @property
    def name(self) -> str:
        """Course and folder: "rust/w02-ownership"."""
        return f"{self.folder.parent.name}/{self.folder.name}"


def find_assignments(path: Path) -> list[Assignment]:
    """The assignment in a folder, or all below it, in the order of their names.

    Raises:
        UserError: there is none, or a manifest cannot be read.
    """
    if not path.exists():
        raise UserError(f"There is nothing at '{path}'.")
    path = path.resolve()
    if (path / MANIFEST).is_file():
        return [read_assignment(path)]
    found = [
        file.parent
        for file in sorted(path.rglob(MANIFEST))
        if not _LEFT_OUT & set(file.relative_to(path).parts)
    ]
    if not found:
        raise UserError(f"There is no assignment ({MANIFEST}) in '{path}' or below it.")
    return [read_assignment(folder) for folder in found]


def read_assignment(folder: Path) -> Assignment:
    """Read the manifest of a folder.

    Raises:
        UserError: it is not valid, or a file that it needs is not there.
    """
    file = folder / MANIFEST
    try:
        manifest = msgspec.toml.decode(file.read_bytes(), type=_Manifest)
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise UserError(f"'{file}' cannot be read: {error}") from error
    parts = [tests for tests in (manifest.rust, manifest.python) if tests is not None]
    if (total := sum(sum(tests.points.values()) for tests in parts)) != FULL:
        raise UserError(f"'{file}': the points add up to {total}, not to {FULL}.")
    needed = list(manifest.edit)
    needed += ["Cargo.toml", "tests/grade.rs"] if manifest.rust else []
    needed += ["grade.py"] if manifest.python else []
    for name in needed:
        if not (folder / name).is_file():
            raise UserError(f"The assignment in '{folder}' has no {name}.")
    return Assignment(folder, manifest.title, tuple(manifest.edit), manifest.rust, manifest.python)
