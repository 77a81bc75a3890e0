"""API keys: random, shown once, stored as SHA-256, compared in constant time.

A key reads ``airust-ID-SECRET``: the ID finds the row, the secret proves it. 256 random bits need
no slow hash; those protect words that people choose.

>>> keys = Keys(Database("sqlite:///:memory:"))
>>> secret, made = keys.create("laptop")
>>> keys.verify(secret).name, keys.verify(secret[:-1] + "!")
('laptop', None)
>>> keys.revoke(made.id)
>>> keys.verify(secret) is None
True
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from airust.serving.storage.database import Database, keys
from airust.types import UserError

PREFIX = "airust"
SCOPES = ("chat", "admin")  # admin may also read /metrics


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    def valid(self, now: float) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Keys:
    """All keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, scopes: Sequence[str] = ("chat",), valid_s: float | None = None
    ) -> tuple[str, Key]:
        """A new key: itself, which is shown once, and what is kept.

        Raises:
            UserError: a scope is unknown.
        """
        for scope in scopes:
            if scope not in SCOPES:
                raise UserError(f"There is no scope '{scope}'; the scopes are: {list(SCOPES)}.")
        now = time.time()
        expires = None if valid_s is None else now + valid_s
        made = Key(secrets.token_hex(6), name, tuple(scopes), now, expires, None)
        secret = f"{PREFIX}-{made.id}-{secrets.token_urlsafe(32)}"
        row = {
            "id": made.id, "name": name, "hash": _hash(secret), "scopes": " ".join(scopes),
            "created_at": now, "expires_at": expires,
        }  # fmt: skip
        with self._database.write() as connection:
            connection.execute(insert(keys).values(**row))
        return secret, made

    def all(self) -> list[Key]:
        """The oldest first."""
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(select(keys).order_by("created_at"))]

    def revoke(self, ident: str) -> None:
        """Make a key worthless, at once here and within seconds in other processes.

        Raises:
            UserError: there is no such key.
        """
        with self._database.write() as connection:
            changed = connection.execute(
                update(keys).where(keys.c.id == ident).values(revoked_at=time.time())
            )
            if changed.rowcount == 0:
                raise UserError(f"There is no key '{ident}'; `airust keys list` shows them.")

    def verify(self, secret: str) -> Key | None:
        """The key that somebody presents, if it is one."""
        parts = secret.split("-", 2)
        if len(parts) != 3 or parts[0] != PREFIX:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(keys.c.id == parts[1])).one_or_none()
        expected = row.hash if row is not None else _hash("")  # takes as long when there is none
        same = hmac.compare_digest(_hash(secret), expected)
        if row is None or not same:
            return None
        found = _key(row)
        return found if found.valid(time.time()) else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _key(row: Row[Any]) -> Key:
    scopes = tuple(row.scopes.split())
    return Key(row.id, row.name, scopes, row.created_at, row.expires_at, row.revoked_at)
