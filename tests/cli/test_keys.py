"""``airust keys``: made once, listed without secrets, revoked."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from airust.cli import build_app
from airust.serving.storage.database import Database
from airust.serving.storage.keys import Keys


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'[sessions]\ndatabase_url = "sqlite:///{tmp_path / "a.db"}"\n')
    return path


def call(*args: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(build_app(), ["keys", *map(str, args)])
    return done.exit_code, done.stdout, done.stderr


def test_create_list_revoke(config: Path, tmp_path: Path):
    code, secret, _ = call("create", "laptop", "--days", 90, "--config", config)
    assert code == 0
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    key = Keys(database).verify(secret.strip())
    assert key is not None
    assert (key.name, key.scopes) == ("laptop", ("chat",))
    assert key.expires_at is not None
    _, listed, _ = call("list", "--config", config)
    assert key.id in listed
    assert "laptop" in listed
    assert secret.strip() not in listed
    assert call("revoke", key.id, "--config", config)[0] == 0
    assert Keys(database).verify(secret.strip()) is None
    assert "revoked" in call("list", "--config", config)[1]
    database.close()


def test_admin(config: Path):
    assert call("create", "ops", "--admin", "--config", config)[0] == 0
    assert "chat, admin" in call("list", "--config", config)[1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["make"], "There is no action 'make'"),
        (["create"], "needs a name"),
        (["revoke", "none"], "There is no key 'none'"),
    ],
)
def test_mistakes(config: Path, args: list[str], message: str):
    code, _, told = call(*args, "--config", config)
    assert (code, told.count("\n")) == (2, 1)
    assert message in told
