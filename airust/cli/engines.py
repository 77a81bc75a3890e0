"""``airust engines``: what can run a model here, and how to install what cannot."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from airust.cli.common import print_json

EXAMPLE = "airust engines --json"


def run(
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """List the engines: installed or how to install them, and what each can do."""
    from airust.engines.registry import list_engines

    engines = list_engines()
    if as_json:
        print_json([asdict(engine) for engine in engines])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("engine", "installed", "what it is, loads and can do", show_lines=True)
    for engine in engines:
        able = asdict(engine.capabilities) if engine.capabilities else {}
        can = ", ".join(name.replace("_", " ") for name, yes in able.items() if yes)
        about = [engine.description, f"loads: {engine.formats}", *([f"can: {can}"] if can else [])]
        state = (engine.version or "yes") if engine.available else "no"
        table.add_row(engine.name, state, "\n".join(about))
    Console(markup=False).print(table)
    for engine in engines:
        if not engine.available:
            typer.echo(f"{engine.name} is missing; install it with: {engine.install_hint}")
