"""One place where errors become a sentence and an exit code."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from airust.types import AirustError, UserError

P = ParamSpec("P")
R = TypeVar("R")

FAILED, USER_MISTAKE = 1, 2


def handled(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that the user reads one sentence on stderr instead of a trace.

    Ctrl+C (130) and a closed pipe (1) are Typer's to handle and end quietly.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except UserError as error:
            _explain(str(error), error)
            raise typer.Exit(USER_MISTAKE) from error
        except AirustError as error:
            _explain(str(error), error)
            raise typer.Exit(FAILED) from error
        except Exception as error:
            first_line = (str(error).splitlines() or [""])[0]
            what = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
            _explain(f"{what} (AIRUST_DEBUG=1 shows the whole trace)", error)
            raise typer.Exit(FAILED) from error

    return wrapper


def _explain(sentence: str, error: Exception) -> None:
    if os.environ.get("AIRUST_DEBUG") == "1":
        traceback.print_exception(error)
    typer.echo(f"Error: {sentence}", err=True)
