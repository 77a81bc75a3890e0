"""``airust keys``: who may use the service."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airust.cli.common import say
from airust.types import UserError

if TYPE_CHECKING:
    from airust.serving.storage.keys import Keys

EXAMPLE = 'airust keys create "my laptop" --days 90'
ACTIONS = ("create", "list", "revoke")
DAY_S = 86_400


def run(
    action: Annotated[str, typer.Argument(help="create, list or revoke.")],
    name: Annotated[str | None, typer.Argument(help="A new key's name, or a key's id.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="The key may read /metrics, too.")] = False,
    days: Annotated[float | None, typer.Option(min=0, help="Days until the key expires.")] = None,
    config: Annotated[Path | None, typer.Option(help="A config.toml; names the database.")] = None,
) -> None:
    """Make a key for the service (it is shown once), list the keys, or revoke one."""
    if action not in ACTIONS:
        raise UserError(f"There is no action '{action}'; the actions are: {', '.join(ACTIONS)}.")
    if action != "list" and not name:
        raise UserError(f"`airust keys {action}` needs a name; for example: {EXAMPLE}.")
    from airust.serving.storage.database import Database
    from airust.serving.storage.keys import Keys
    from airust.settings import load_settings

    database = Database(load_settings(config).sessions.database_url)
    try:
        keys = Keys(database)
        if action == "create":
            _create(keys, name or "", admin, days)
        elif action == "list":
            _list(keys)
        else:
            keys.revoke(name or "")
            say(f"The key {name} is worth nothing any more.")
    finally:
        database.close()


def _create(keys: Keys, name: str, admin: bool, days: float | None) -> None:
    scopes = ("chat", "admin") if admin else ("chat",)
    secret, _ = keys.create(name, scopes, None if days is None else days * DAY_S)
    say("Keep it: it is not shown again.")
    typer.echo(secret)


def _list(keys: Keys) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "name", "scopes", "made", "state")
    for key in keys.all():
        state = "valid" if key.valid(time.time()) else "expired"
        if key.revoked_at is not None:
            state = "revoked"
        elif key.expires_at is not None and state == "valid":
            state = f"until {_day(key.expires_at)}"
        table.add_row(key.id, key.name, ", ".join(key.scopes), _day(key.created_at), state)
    Console(markup=False).print(table)


def _day(when: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(when))
