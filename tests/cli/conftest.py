"""The command line in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from airust.cli import build_app

Invoke = Callable[..., Result]


@pytest.fixture
def airust() -> Invoke:
    """Run a command: ``airust("ask", "hello", stdin="")`` gives exit_code, stdout, stderr."""

    def invoke(*args: str, stdin: str | bytes = "") -> Result:
        return CliRunner().invoke(build_app(), args, input=stdin, prog_name="airust")

    return invoke
