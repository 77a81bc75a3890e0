"""``airust grade``: how many points is an assignment worth as it stands?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airust.cli.common import print_json, say

if TYPE_CHECKING:
    from airust.lessons.grading import Assignment, Grade

EXAMPLE = "airust grade courses/rust/w01-basics"


def run(
    path: Annotated[Path, typer.Argument(help="An assignment's folder, or a whole course.")],
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Run the tests of an assignment, or of all below a folder, and count the points.

    Exit code 0 with all points, 1 with fewer, 2 for a mistake, such as no assignment there or no
    cargo here. The best result of each is remembered on this machine.
    """
    from airust.lessons import progress
    from airust.lessons.grading import find_assignments

    grades = []
    for assignment in find_assignments(path):
        grades.append(grade := _grade(assignment))
        progress.remember_points(assignment.name, grade.points)
        if not as_json:
            _show(grade)
    if as_json:
        print_json([_as_dict(grade) for grade in grades])
    elif len(grades) > 1:
        _show_all(grades)
    if not all(grade.full for grade in grades):
        raise typer.Exit(1)


def _grade(assignment: Assignment) -> Grade:
    from rich.console import Console

    from airust.lessons.grading import grade

    with Console(stderr=True, markup=False).status(assignment.name) as status:
        return grade(assignment, lambda step: status.update(f"{assignment.name}: {step}"))


def _show(grade: Grade) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False)
    for error in grade.errors:
        shown = Text.from_ansi(error.rendered)
        Console(stderr=True, markup=False).print(shown, soft_wrap=True)
    table = Table(
        "", "what is asked", "points", "why not",
        title=f"{grade.assignment.name}: {grade.assignment.title}", title_justify="left",
    )  # fmt: skip
    for check in grade.checks:
        mark = "✗" if check.reason else "✓"
        table.add_row(mark, check.sentence, f"{check.points} of {check.worth}", check.reason)
    console.print(table)
    typer.echo(f"{grade.points} of 100 points")
    if not grade.full:
        folder = grade.assignment.folder
        say(f"To be changed: {', '.join(grade.assignment.edit)}; hints are in {folder}/README.md")


def _show_all(grades: list[Grade]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("assignment", "title", "points")
    for grade in grades:
        table.add_row(grade.assignment.name, grade.assignment.title, f"{grade.points} of 100")
    Console(markup=False).print(table)


def _as_dict(grade: Grade) -> dict[str, object]:
    return {
        "assignment": grade.assignment.name,
        "title": grade.assignment.title,
        "points": grade.points,
        "checks": [
            {"test": c.test, "points": c.points, "worth": c.worth, "reason": c.reason}
            for c in grade.checks
        ],
        "errors": [error.text for error in grade.errors],
    }
