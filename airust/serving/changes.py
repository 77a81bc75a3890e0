"""Who is told when conversations change: the other tabs, and a notebook beside them.

Changes are told within one process. A page behind several gateways also asks anew when it is
looked at again, so it never depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Change = Literal["created", "updated", "deleted", "imported", "messages", "answering", "answered"]
Listener = Callable[[dict[str, Any]], None]


class Changes:
    """Belongs to one event loop.

    >>> changes, seen = Changes(), []
    >>> forget = changes.listen("me", seen.append)
    >>> changes.tell("me", "sess_1", "updated")
    >>> changes.tell("you", "sess_2", "updated")
    >>> forget()
    >>> changes.tell("me", "sess_1", "deleted")
    >>> seen
    [{'type': 'session.changed', 'session_id': 'sess_1', 'change': 'updated'}]
    """

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}

    def listen(self, owner: str, listener: Listener) -> Callable[[], None]:
        """Tell ``listener`` what happens to an owner's sessions, until the result is called."""
        listeners = self._listeners.setdefault(owner, set())
        listeners.add(listener)

        def forget() -> None:
            listeners.discard(listener)
            if not listeners:
                self._listeners.pop(owner, None)

        return forget

    def tell(self, owner: str, session_id: str | None, change: Change, **more: Any) -> None:
        """Something has changed; without a session, perhaps everything."""
        event = {"type": "session.changed", "session_id": session_id, "change": change, **more}
        for listener in tuple(self._listeners.get(owner, ())):
            listener(event)
