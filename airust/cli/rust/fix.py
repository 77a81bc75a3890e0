"""``airust rust fix``: repair compile errors with any engine, rustc as the judge."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airust.cli.common import EngineOption, MaxTokensOption, SeedOption, SourceOption, say

if TYPE_CHECKING:
    from airust.engines.base import Engine
    from airust.rust.assistant import Limits, Outcome, Project, Step

EXAMPLE = "airust rust fix src/main.rs --engine openai --model Qwen/Qwen2.5-Coder-32B-Instruct"


def run(
    path: Annotated[Path, typer.Argument(help="A .rs file, or a folder with a Cargo.toml.")],
    model: SourceOption = None,
    engine: EngineOption = "torch",
    completions: Annotated[
        int, typer.Option(min=1, help="Answers that are tried for each change.")
    ] = 5,
    temperature: Annotated[float, typer.Option(help="0 makes every answer the same.")] = 0.2,
    max_tokens: MaxTokensOption = 800,
    steps: Annotated[int, typer.Option(min=1, help="Changes at most for one error.")] = 10,
    seed: SeedOption = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write what got better; the old files stay as NAME.orig."),
    ] = False,
) -> None:
    """Repair the compile errors of a Rust program; shows the change, writes only with --write.

    In a terminal it asks before it writes. Exit code 0 if no error is left, 1 otherwise.
    """
    from airust.cli.common import open_engine
    from airust.rust.assistant import Limits, open_project

    limits = Limits(completions, temperature, max_tokens, steps, seed=seed)
    with open_project(path) as project:
        errors = project.check()
        if not errors:
            say(f"`{project.shown_command}` finds no error: nothing to repair.")
            return
        say(f"`{project.shown_command}` finds {_count(len(errors), 'error')}.")
        with open_engine(engine, model) as loaded:
            outcome = _repair(project, loaded, limits)
        _show_outcome(project, outcome)
        if len(outcome.after) < len(outcome.before) and (write or _agreed()):
            for file in project.save(outcome.files):
                say(f"Written: {file} (before: {file.name}.orig)")
    if not outcome.repaired:
        raise typer.Exit(1)


def _repair(project: Project, engine: Engine, limits: Limits) -> Outcome:
    from rich.console import Console

    from airust.rust.assistant import repair

    work = repair(project, engine, limits)
    with Console(stderr=True, markup=False).status("Asking for a change ...") as status:
        while True:
            try:
                step = next(work)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            status.console.print(_line(step), highlight=False)


def _line(step: Step) -> str:
    left = "" if step.errors_left is None else f"; {_count(step.errors_left, 'error')} left"
    words = f"\n    {step.description}" if step.description else ""
    because = f" ({step.because})" if step.because else ""
    turned_down = "".join(f"\n    turned down: {reason}" for reason in step.rejected)
    tried = _count(step.tried, "answer")
    return f"{step.error}\n    {step.state}{because}: {tried} tried{left}{words}{turned_down}"


def _show_outcome(project: Project, outcome: Outcome) -> None:
    from rich.console import Console
    from rich.syntax import Syntax

    diff = unified_diff(project.original, outcome.files)
    console = Console(markup=False)
    if diff and console.is_terminal:
        console.print(Syntax(diff, "diff", background_color="default"))
    elif diff:
        typer.echo(diff, nl=False)
    repaired = len(outcome.before) - len(outcome.after)
    say(
        f"{repaired} of {_count(len(outcome.before), 'error')} repaired with "
        f"{_count(outcome.questions, 'answer')}; rustc has checked the result."
    )
    for key in outcome.after:
        say(f"Left: {key}")


def unified_diff(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What changed, as ``patch`` reads it.

    >>> print(unified_diff({"a.rs": "let x = 1;\\n"}, {"a.rs": "let x = 2;\\n"}), end="")
    --- a/a.rs
    +++ b/a.rs
    @@ -1 +1 @@
    -let x = 1;
    +let x = 2;
    """
    parts: list[str] = []
    for name, old in before.items():
        lines = old.splitlines(keepends=True), after[name].splitlines(keepends=True)
        parts += difflib.unified_diff(*lines, f"a/{name}", f"b/{name}")
    return "".join(parts)


def _agreed() -> bool:
    """Ask, where there is somebody to answer."""
    if not typer.get_text_stream("stdin").isatty():
        say("Nothing was written; --write does.")
        return False
    return typer.confirm("Write it?", default=False, err=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
