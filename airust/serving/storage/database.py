"""The tables, and the connection to them.

A conversation is a tree: each message knows its parent, so an edited question or a regenerated
answer is a sibling and nothing is overwritten. A commit is on disk before it is acknowledged:
SQLite writes ahead (WAL) with ``synchronous=FULL``, and PostgreSQL does so by itself.

Full-text search: SQLite's FTS5 with trigrams, which finds parts of words and Chinese alike;
PostgreSQL by substring.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from airust.types import UserError

metadata = MetaData()

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", String(40), nullable=False),  # a key's id; empty without keys
    Column("title", Text, nullable=False),
    Column("system", Text),  # instruction before the first message
    Column("head", String(40)),  # the message that was added or chosen last
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Index("sessions_by_owner", "owner", "updated_at"),
)
messages = Table(
    "messages",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # order of arrival
    Column("id", String(40), unique=True, nullable=False),
    Column("session_id", String(40), ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("parent_id", String(40)),  # None: the first message of the conversation
    Column("role", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("details", JSON, nullable=False),  # model, finish reason, usage, ...
    Column("created_at", Float, nullable=False),
    Index("messages_by_session", "session_id", "number"),
)
keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", String(64), nullable=False),  # SHA-256; the key itself is kept nowhere
    Column("scopes", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

FULL_TEXT = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS messages_text USING fts5("
    "content, content='messages', content_rowid='number', tokenize='trigram')",
    "CREATE TRIGGER IF NOT EXISTS messages_added AFTER INSERT ON messages BEGIN "
    "INSERT INTO messages_text(rowid, content) VALUES (new.number, new.content); END",
    "CREATE TRIGGER IF NOT EXISTS messages_deleted AFTER DELETE ON messages BEGIN "
    "INSERT INTO messages_text(messages_text, rowid, content) "
    "VALUES ('delete', old.number, old.content); END",
)
SCHEMA_LOCK = 4_103_017  # any number; two gateways may start at the same time


class Database:
    """A pool of connections. The tables are made when they are missing.

    Raises:
        UserError: the URL is wrong, or the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            self.is_sqlite = parsed.get_backend_name() == "sqlite"
            if self.is_sqlite and parsed.database and parsed.database != ":memory:":
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(parsed, **self._options())
        except (ArgumentError, NoSuchModuleError, ImportError, OSError) as error:
            raise UserError(
                f"sessions.database_url cannot be used: {str(error).splitlines()[0]}."
            ) from error
        try:
            self._make_tables()
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).splitlines()[0]
            raise UserError(f"The database of sessions.database_url fails: {reason}.") from error

    def _options(self) -> dict[str, Any]:
        if self.is_sqlite:
            return {"connect_args": {"timeout": 30}}
        return {"pool_pre_ping": True, "pool_size": 8, "max_overflow": 8}

    def _make_tables(self) -> None:
        if self.is_sqlite:
            _tune(self._engine)
        with self._engine.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"))
            metadata.create_all(connection)
            if self.is_sqlite:
                for statement in FULL_TEXT:
                    connection.execute(text(statement))

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: all of it is kept, or nothing."""
        with self._engine.begin() as connection:
            if self.is_sqlite:
                # Take the write lock at once: two readers that both want to write would fail.
                connection.execute(text("BEGIN IMMEDIATE"))
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to look things up."""
        with self._engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def _tune(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        # pysqlite's own transactions begin too late; ours say BEGIN themselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
