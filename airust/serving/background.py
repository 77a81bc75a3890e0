"""Responses that go on while nobody listens, so that a page can be reloaded in mid-answer.

The events of such a response are kept from its beginning until a while after its end; whoever
attaches gets those it has missed and then the new ones as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airust.serving.generation import Generation
    from airust.serving.turns import Turn

KEEP_S = 60.0  # after its end a response can be attached to for so long


class Running:
    """One response and its events so far."""

    def __init__(self, owner: str, turn: Turn, generation: Generation) -> None:
        self.owner, self.turn, self.generation = owner, turn, generation
        self.ended = False
        self._events: list[bytes] = []
        self._news = asyncio.Event()

    async def say(self, *events: bytes) -> None:
        """Something has happened."""
        self._events += events
        self._wake()

    def end(self) -> None:
        """Nothing will happen any more."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def follow(self, after: int = -1) -> AsyncIterator[list[bytes]]:
        """The events behind the sequence number ``after``, until the last one."""
        place = max(after + 1, 0)
        while True:
            news = self._news
            if place < len(self._events):
                found = self._events[place:]
                place += len(found)
                yield found
            elif self.ended:
                return
            else:
                await news.wait()

    def body(self) -> dict[str, Any]:
        """What somebody has to know to attach."""
        turn = self.turn
        return {
            "response_id": turn.response_id,
            "message_id": turn.message_id,
            "session_id": turn.session_id,
            "question_id": turn.question_id,
            "model": turn.model.name,
        }


class Background:
    """All of them, by their ids."""

    def __init__(self) -> None:
        self._responses: dict[str, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let ``work`` go on, whoever leaves meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def add(self, running: Running, task: asyncio.Task[None]) -> None:
        """From now on it can be found, until a while after ``task`` has ended."""
        self._responses[running.turn.response_id] = running

        def ended(task: asyncio.Task[None]) -> None:
            running.end()
            task.get_loop().call_later(KEEP_S, self._responses.pop, running.turn.response_id, None)

        task.add_done_callback(ended)

    def find(self, owner: str, response_id: str) -> Running | None:
        """A response of that owner."""
        found = self._responses.get(response_id)
        return found if found is not None and found.owner == owner else None

    def running(self, owner: str) -> list[Running]:
        """Those that have not ended."""
        return [r for r in self._responses.values() if r.owner == owner and not r.ended]
