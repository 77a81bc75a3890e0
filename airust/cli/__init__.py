"""The command line: one small file a command, a folder for commands that belong together.

A command's module holds ``run``, whose signature Typer turns into options and whose docstring
into help, and ``EXAMPLE``, shown below the help. Heavy libraries are imported inside ``run``, so
that ``airust --help`` answers at once. A folder names its commands in ``COMMANDS``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Annotated

import typer

from airust import __version__
from airust.cli.errors import handled
from airust.gpt.openmp import spin_briefly

COMMANDS = (
    "train",
    "ask",
    "chat",
    "export",
    "engines",
    "parity",
    "replay",
    "bench",
    "report",
    "serve",
    "keys",
    "rust",
    "grade",
    "watch",
    "doctor",
)


def build_app() -> typer.Typer:
    """The Typer application with every command that is there."""
    app = typer.Typer(
        name="airust",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(epilog="Start here: airust train --preset tiny --out runs/tiny")(_common)
    _add_commands(app, "airust.cli", COMMANDS)
    return app


def _add_commands(app: typer.Typer, package: str, names: Sequence[str]) -> None:
    for name in names:
        if find_spec(f"{package}.{name}") is None:
            continue
        module = import_module(f"{package}.{name}")
        if hasattr(module, "COMMANDS"):
            group = typer.Typer(no_args_is_help=True, help=inspect.getdoc(module))
            _add_commands(group, f"{package}.{name}", module.COMMANDS)
            app.add_typer(group, name=name)
        else:
            app.command(name, epilog=f"Example: {module.EXAMPLE}")(handled(module.run))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"airust {__version__}")
        raise typer.Exit()


def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Train a small GPT, take it apart, and run the same weights in Rust engines."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 Ctrl+C."""
    spin_briefly()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # Windows would otherwise read and write a pipe in a code page without Chinese.
        if isinstance(stream, TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8", errors="replace")
    build_app()(prog_name="airust")
