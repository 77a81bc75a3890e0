"""Sessions: independent conversations, each a tree of messages, each of one owner.

>>> store = Sessions(Database("sqlite:///:memory:"))
>>> talk = store.create("me", "Rivers")
>>> question = store.add("me", talk.id, None, "user", "Where does water flow?")
>>> answer = store.add("me", talk.id, question.id, "assistant", "Downhill.")
>>> [m.content for m in store.path("me", talk.id, answer.id)]
['Where does water flow?', 'Downhill.']
>>> [hit.message_id == answer.id for hit in store.search("me", "downhill")]
[True]
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, text, update

from airust.serving.errors import ApiError
from airust.serving.storage.database import Database, messages, sessions

TITLE_LENGTH = 60
NEW = "New chat"
LONG_ENOUGH = 3  # characters that trigrams can find


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message of a tree."""

    id: str
    parent_id: str | None
    role: str
    content: str
    created_at: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation without its messages."""

    id: str
    title: str
    system: str | None
    head: str | None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that a search has found."""

    session_id: str
    title: str
    message_id: str
    role: str
    excerpt: str


class Sessions:
    """All conversations. Each method is one transaction, and blocks: call it in a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, owner: str, title: str = "", system: str | None = None, ident: str | None = None
    ) -> Session:
        """A new conversation."""
        now = time.time()
        found = Session(ident or _new_id("sess"), title or NEW, system, None, now, now)
        with self._database.write() as connection:
            connection.execute(insert(sessions).values(owner=owner, **_columns(found)))
        return found

    def newest(self, owner: str, limit: int = 100, before: float | None = None) -> list[Session]:
        """The newest first."""
        wanted = select(sessions).where(sessions.c.owner == owner)
        if before is not None:
            wanted = wanted.where(sessions.c.updated_at < before)
        wanted = wanted.order_by(sessions.c.updated_at.desc(), sessions.c.id).limit(limit)
        with self._database.read() as connection:
            return [_session(row) for row in connection.execute(wanted)]

    def get(self, owner: str, ident: str) -> Session:
        """One of them.

        Raises:
            ApiError: there is none of that name, or it is somebody else's.
        """
        with self._database.read() as connection:
            return _find(connection, owner, ident)

    def change(self, owner: str, ident: str, **values: str | None) -> Session:
        """Rename it, give it another instruction, or choose another branch as its head."""
        with self._database.write() as connection:
            _find(connection, owner, ident)
            head = values.get("head")
            if head is not None:
                _message(connection, ident, head)
            changed = update(sessions).where(sessions.c.id == ident)
            connection.execute(changed.values(updated_at=time.time(), **values))
            return _find(connection, owner, ident)

    def delete(self, owner: str, ident: str) -> None:
        """Remove it with its messages."""
        with self._database.write() as connection:
            _find(connection, owner, ident)
            connection.execute(delete(messages).where(messages.c.session_id == ident))
            connection.execute(delete(sessions).where(sessions.c.id == ident))

    def add(
        self,
        owner: str,
        ident: str,
        parent_id: str | None,
        role: str,
        content: str,
        details: Mapping[str, Any] | None = None,
        message_id: str | None = None,
    ) -> StoredMessage:
        """A message below another one; it becomes the head. The first question is the title."""
        now = time.time()
        name = message_id or _new_id("msg")
        message = StoredMessage(name, parent_id, role, content, now, details or {})
        with self._database.write() as connection:
            session = _find(connection, owner, ident)
            if parent_id is not None:
                _message(connection, ident, parent_id)
            connection.execute(insert(messages).values(session_id=ident, **_columns(message)))
            values: dict[str, Any] = {"head": message.id, "updated_at": now}
            if session.title == NEW and role == "user":
                values["title"] = " ".join(content.split())[:TITLE_LENGTH] or NEW
            connection.execute(update(sessions).where(sessions.c.id == ident).values(**values))
        return message

    def remove(self, owner: str, ident: str, message_id: str) -> list[StoredMessage]:
        """Remove a message and everything below it; returned for ``put_back``.

        If the head is among them, the newest end of what is left beside it becomes the head, or
        the message above.
        """
        with self._database.write() as connection:
            session = _find(connection, owner, ident)
            tree = _tree(connection, ident)
            gone = _below(tree, message_id)
            if not gone:
                raise _no_message(message_id)
            names = {message.id for message in gone}
            connection.execute(delete(messages).where(messages.c.id.in_(names)))
            values: dict[str, Any] = {"updated_at": time.time()}
            if session.head in names:
                left = [m for m in tree if m.id not in names]
                beside = [m for m in left if m.parent_id == gone[0].parent_id]
                ends = _below(left, beside[-1].id) if beside else []
                values["head"] = ends[-1].id if ends else gone[0].parent_id
            connection.execute(update(sessions).where(sessions.c.id == ident).values(**values))
        return gone

    def put_back(
        self, owner: str, ident: str, found: Sequence[StoredMessage], head: str | None
    ) -> None:
        """Undo ``remove``.

        Raises:
            ApiError: a message is there already, or the one above it is not.
        """
        with self._database.write() as connection:
            _find(connection, owner, ident)
            there = {message.id for message in _tree(connection, ident)}
            for message in found:
                taken = select(messages.c.id).where(messages.c.id == message.id)
                if connection.execute(taken).scalar() is not None:
                    raise ApiError(409, f"The message '{message.id[:60]}' is there already.",
                                   "message_exists")  # fmt: skip
                if message.parent_id is not None and message.parent_id not in there:
                    raise _no_message(message.parent_id)
                connection.execute(insert(messages).values(session_id=ident, **_columns(message)))
                there.add(message.id)
            if head is not None and head not in there:
                raise _no_message(head)
            values = {"head": head, "updated_at": time.time()}
            connection.execute(update(sessions).where(sessions.c.id == ident).values(**values))

    def tree(self, owner: str, ident: str) -> list[StoredMessage]:
        """All messages, parents before their children."""
        with self._database.read() as connection:
            _find(connection, owner, ident)
            return _tree(connection, ident)

    def path(self, owner: str, ident: str, leaf: str | None) -> list[StoredMessage]:
        """The branch that ends with a message, from its beginning.

        Raises:
            ApiError: there is no such message in the session.
        """
        if leaf is None:
            self.get(owner, ident)
            return []
        by_id = {message.id: message for message in self.tree(owner, ident)}
        if leaf not in by_id:
            raise _no_message(leaf)
        branch = []
        at: str | None = leaf
        while at is not None:
            branch.append(by_id[at])
            at = by_id[at].parent_id
        return branch[::-1]

    def session_of(self, owner: str, message_id: str) -> str:
        """Where a message belongs.

        Raises:
            ApiError: there is no such message, or it is somebody else's.
        """
        wanted = (
            select(messages.c.session_id)
            .join(sessions, sessions.c.id == messages.c.session_id)
            .where(messages.c.id == message_id, sessions.c.owner == owner)
        )
        with self._database.read() as connection:
            found = connection.execute(wanted).scalar()
        if found is None:
            raise _no_message(message_id)
        return str(found)

    def search(self, owner: str, words: str, limit: int = 50) -> list[Hit]:
        """Messages that hold all the words, newest first."""
        terms = words.replace("\0", " ").split()  # neither database takes NUL in a search
        if not terms:
            return []
        conditions = [self._holds(term, number) for number, term in enumerate(terms)]
        wanted = (
            select(
                messages.c.session_id, sessions.c.title, messages.c.id, messages.c.role,
                messages.c.content,
            )
            .join(sessions, sessions.c.id == messages.c.session_id)
            .where(and_(sessions.c.owner == owner, *conditions))
            .order_by(messages.c.number.desc())
            .limit(limit)
        )  # fmt: skip
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        return [Hit(*row[:4], excerpt=_excerpt(row.content, terms[0])) for row in rows]

    def _holds(self, term: str, number: int) -> Any:
        if self._database.is_sqlite and len(term) >= LONG_ENOUGH:
            quoted = '"' + term.replace('"', '""') + '"'
            found = "SELECT rowid FROM messages_text WHERE messages_text MATCH"
            name = f"term{number}"
            return text(f"messages.number IN ({found} :{name})").bindparams(**{name: quoted})
        return func.lower(messages.c.content).contains(term.lower(), autoescape=True)

    def put(
        self, owner: str, conversations: Iterable[tuple[Session, Iterable[StoredMessage]]]
    ) -> list[Session]:
        """Whole conversations from elsewhere, under new names where theirs are taken."""
        with self._database.write() as connection:
            return [_put(connection, owner, session, tree) for session, tree in conversations]


def _put(
    connection: Connection, owner: str, session: Session, tree: Iterable[StoredMessage]
) -> Session:
    ident = session.id
    taken = select(sessions.c.id).where(sessions.c.id == ident)
    if not ident or connection.execute(taken).scalar() is not None:
        ident = _new_id("sess")
    names: dict[str, str] = {}
    values = _columns(session) | {"id": ident, "owner": owner, "head": None}
    connection.execute(insert(sessions).values(**values))
    for message in tree:
        names[message.id] = _new_id("msg")
        parent = None if message.parent_id is None else names.get(message.parent_id)
        row = _columns(message) | {"id": names[message.id], "parent_id": parent}
        connection.execute(insert(messages).values(session_id=ident, **row))
    head = names.get(session.head or "", next(reversed(names.values()), None))
    connection.execute(update(sessions).where(sessions.c.id == ident).values(head=head))
    return _find(connection, owner, ident)


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def _columns(value: Session | StoredMessage) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _find(connection: Connection, owner: str, ident: str) -> Session:
    wanted = select(sessions).where(sessions.c.id == ident, sessions.c.owner == owner)
    row = connection.execute(wanted).one_or_none()
    if row is None:
        raise ApiError(404, f"There is no session '{ident[:60]}'.", "session_not_found")
    return _session(row)


def _tree(connection: Connection, session_id: str) -> list[StoredMessage]:
    wanted = select(messages).where(messages.c.session_id == session_id)
    return [_stored(row) for row in connection.execute(wanted.order_by(messages.c.number))]


def _below(tree: Iterable[StoredMessage], ident: str) -> list[StoredMessage]:
    """A message and its descendants, parents before children."""
    names, found = {ident}, []
    for message in tree:
        if message.id == ident or message.parent_id in names:
            names.add(message.id)
            found.append(message)
    return found


def _message(connection: Connection, session_id: str, ident: str) -> None:
    wanted = select(messages.c.id).where(
        messages.c.id == ident, messages.c.session_id == session_id
    )
    if connection.execute(wanted).scalar() is None:
        raise _no_message(ident)


def _no_message(ident: str) -> ApiError:
    return ApiError(404, f"There is no message '{ident[:60]}' here.", "message_not_found")


def _session(row: Row[Any]) -> Session:
    return Session(row.id, row.title, row.system, row.head, row.created_at, row.updated_at)


def _stored(row: Row[Any]) -> StoredMessage:
    return StoredMessage(row.id, row.parent_id, row.role, row.content, row.created_at, row.details)


def _excerpt(content: str, term: str, around: int = 60) -> str:
    """The place where a word was found.

    >>> _excerpt("water flows downhill", "flows", around=3)
    '…er flows do…'
    """
    at = max(content.lower().find(term.lower()), 0)
    start, end = max(at - around, 0), min(at + len(term) + around, len(content))
    return ("…" if start else "") + content[start:end] + ("…" if end < len(content) else "")
