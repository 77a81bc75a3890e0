"""Conversations in and out: JSON with everything, ``sessions.json`` of old, Markdown to read.

Ours is ``{"format": "airust-sessions", "version": 1, "sessions": [...]}`` with every branch.
Import also takes what other programs write: a list of sessions, or a table of them by name, each
with ``messages`` (or ``history``) of ``{"role", "content"}`` in one line of descent.

>>> old = {"s1": {"title": "Rust", "messages": [{"role": "user", "content": "Hi"}]}}
>>> [(session.title, [m.content for m in branch]) for session, branch in read(old)]
[('Rust', ['Hi'])]
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from airust.serving.errors import ApiError
from airust.serving.storage.sessions import NEW, Session, StoredMessage
from airust.types import Role

FORMAT, VERSION = "airust-sessions", 1
Conversation = tuple[Session, Sequence[StoredMessage]]


def write(conversations: Iterable[Conversation]) -> dict[str, Any]:
    """Everything, for ``read``."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "sessions": [
            session_body(session) | {"messages": [message_body(m) for m in branch]}
            for session, branch in conversations
        ],
    }


def session_body(session: Session) -> dict[str, Any]:
    """A session as JSON."""
    return {name: getattr(session, name) for name in session.__slots__}


def message_body(message: StoredMessage) -> dict[str, Any]:
    """A message as JSON."""
    return {name: getattr(message, name) for name in message.__slots__}


def markdown(session: Session, branch: Sequence[StoredMessage]) -> str:
    """One branch, to read and to keep.

    >>> now = Session("s", "Rust", "Be brief.", None, 0.0, 0.0)
    >>> print(markdown(now, [StoredMessage("m", None, "user", "Hi", 0.0)]))
    # Rust
    <BLANKLINE>
    > Be brief.
    <BLANKLINE>
    ## User
    <BLANKLINE>
    Hi
    <BLANKLINE>
    """
    parts = [f"# {' '.join(session.title.split())}"]
    if session.system:
        parts.append("\n".join(f"> {line}" for line in session.system.splitlines()))
    for message in branch:
        parts += [f"## {message.role.capitalize()}", message.content]
    return "\n\n".join(parts) + "\n"


def read(document: Any) -> Iterator[Conversation]:
    """The conversations of a document.

    Raises:
        ApiError: it does not hold any, or one is damaged; says where.
    """
    if isinstance(document, Mapping) and "sessions" in document:
        document = document["sessions"]
    if isinstance(document, Mapping):
        named: list[tuple[str, Any]] = [(str(name), value) for name, value in document.items()]
    elif isinstance(document, list):
        named = [("", value) for value in document]
    else:
        raise _damaged("the document", "is neither a list nor a table of sessions")
    for place, (name, value) in enumerate(named):
        yield _conversation(f"sessions.{name or place}", name, value)


def _conversation(where: str, name: str, value: Any) -> Conversation:
    if isinstance(value, list):  # only messages
        value = {"messages": value}
    if not isinstance(value, Mapping):
        raise _damaged(where, "is not a session")
    raw = value.get("messages", value.get("history", []))
    if not isinstance(raw, list):
        raise _damaged(f"{where}.messages", "is not a list")
    found = [_message(f"{where}.messages.{i}", m) for i, m in enumerate(raw)]
    system = value.get("system")
    if system is None and found and found[0].role == "system":
        system, found = found[0].content, found[1:]
    branch: list[StoredMessage] = []
    for i, message in enumerate(found):
        if "parent_id" not in raw[len(raw) - len(found) + i]:  # one line of descent
            parent = branch[-1].id if branch else None
            message = StoredMessage(
                message.id, parent, message.role, message.content, message.created_at,
                message.details,
            )  # fmt: skip
        branch.append(message)
    created = _time(value.get("created_at"))
    session = Session(
        id=_text(value.get("id")) or name,
        title=_text(value.get("title") or value.get("name")) or _title(branch),
        system=_text(system) or None,
        head=_text(value.get("head")) or None,
        created_at=created,
        updated_at=_time(value.get("updated_at"), created),
    )
    if len(session.id) > 40:
        raise _damaged(f"{where}.id", "has more than 40 characters")
    return session, branch


def _message(where: str, value: Any) -> StoredMessage:
    if not isinstance(value, Mapping) or not isinstance(value.get("content"), str):
        raise _damaged(where, "is not a message with a role and a content")
    role = value.get("role")
    if role not in get_args(Role):
        raise _damaged(f"{where}.role", f"is {str(role)[:40]!r}")
    details = value.get("details")
    return StoredMessage(
        id=_text(value.get("id")) or where,
        parent_id=_text(value.get("parent_id")) or None,
        role=str(role),
        content=value["content"],
        created_at=_time(value.get("created_at", value.get("timestamp"))),
        details=dict(details) if isinstance(details, Mapping) else {},
    )


def _title(branch: Sequence[StoredMessage]) -> str:
    first = next((m.content for m in branch if m.role == "user"), "")
    return " ".join(first.split())[:60] or NEW


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _time(value: Any, otherwise: float | None = None) -> float:
    """Seconds, milliseconds, or ISO 8601."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            value = None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15:
        return value / 1000 if value > 1e11 else float(value)
    return time.time() if otherwise is None else otherwise


def _damaged(where: str, what: str) -> ApiError:
    return ApiError(400, f"{where} {what}.", "invalid_value", where[:200])
