"""From tests to points."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from airust.lessons.grading import cargo_tests, python_tests
from airust.lessons.grading.assignment import FULL, Assignment
from airust.rust.diagnostics import Diagnostic

REFUSED = "the compiler refuses the package"


@dataclass(frozen=True, slots=True)
class Check:
    """What one test says."""

    test: str  # its name
    worth: int
    reason: str  # why it fails; empty where it passes

    @property
    def points(self) -> int:
        """What it gives: everything or nothing."""
        return 0 if self.reason else self.worth

    @property
    def sentence(self) -> str:
        """The name of the test in words."""
        return self.test.removeprefix("test_").replace("_", " ")


@dataclass(frozen=True, slots=True)
class Grade:
    """The result of an assignment."""

    assignment: Assignment
    checks: tuple[Check, ...]
    errors: tuple[Diagnostic, ...] = ()  # why the compiler refuses the package

    @property
    def points(self) -> int:
        """Of 100."""
        return sum(check.points for check in self.checks)

    @property
    def full(self) -> bool:
        """Whether nothing is left to do."""
        return self.points == FULL


def grade(assignment: Assignment, on_step: Callable[[str], None] | None = None) -> Grade:
    """Run all tests of an assignment; ``on_step`` is told what is being done.

    Raises:
        NoToolchainError: it needs cargo, and there is none.
        UserError: cargo did not come as far as the compiler.
    """
    tell = on_step or (lambda what: None)
    program, errors, checks = None, tuple[Diagnostic, ...](), list[Check]()
    with tempfile.TemporaryDirectory(prefix="airust-grade-", ignore_cleanup_errors=True) as out:
        if assignment.rust is not None:
            tell("building")
            package = cargo_tests.build(
                assignment.folder, Path(out), release=assignment.rust.release, on_line=tell
            )
            program, errors = package.program, package.errors
            checks += _rust_checks(assignment, package, tell)
        if (tests := assignment.python) is not None:
            for name, worth in tests.points.items():
                tell(name)
                reason = python_tests.run_test(name, tests, assignment.folder, program)
                checks.append(Check(name, worth, reason))
    return Grade(assignment, tuple(checks), errors)


def _rust_checks(
    assignment: Assignment, package: cargo_tests.Package, tell: Callable[[str], None]
) -> Iterator[Check]:
    tests = assignment.rust
    assert tests is not None
    for name, worth in tests.points.items():
        tell(name)
        refused = package.tests is None
        reason = (
            REFUSED if refused else cargo_tests.run_test(package, name, tests, assignment.folder)
        )
        yield Check(name, worth, reason)
