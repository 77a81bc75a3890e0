"""One thread with an asyncio loop, in which any number of requests wait for a server.

A request spends nearly all of its time waiting. A thread for each would be a stack for each;
here a request is a task, and cancelling it closes its connection at once, also one that waits
for its first byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from airust.engines.base import EngineStats
from airust.engines.worker import Job, Outcome
from airust.types import DoneEvent, EngineError, Usage

Result = TypeVar("Result")
Work = Callable[[Job], Coroutine[Any, Any, Outcome]]
CANCELLED = Outcome("cancelled", Usage(0, 0))


class Loop:
    """The thread and what runs in it. It holds no engine, so that a forgotten one is freed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._lock = threading.Lock()  # between the last submit and the end
        self._ended = False
        self._running = self._waiting = self._generated = 0
        self._thread = threading.Thread(target=self._run, daemon=True, name="airust-requests")
        self._thread.start()

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    def wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run something in the loop and wait for it.

        Raises:
            EngineError: in the loop's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise EngineError("A callback of a request cannot wait for another answer.")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @property
    def ended(self) -> bool:
        """Nothing runs here any more."""
        return self._ended

    def submit(self, job: Job, work: Work) -> bool:
        """Start a request and return at once; False if the loop has ended."""
        with self._lock:
            if not self._ended:
                self._waiting += 1
                self._loop.call_soon_threadsafe(self._start, job, work)
            return not self._ended

    def stats(self) -> EngineStats:
        """Requests on their way to the server count as running."""
        with self._lock:
            return EngineStats(self._running, self._waiting, generated_tokens=self._generated)

    def _start(self, job: Job, work: Work) -> None:
        with self._lock:
            self._waiting, self._running = self._waiting - 1, self._running + 1
        job.start()
        task = self._loop.create_task(work(job))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finish(job, done))
        job.on_cancel(lambda: self._cancel_soon(task))

    def _finish(self, job: Job, task: asyncio.Task[Outcome]) -> None:
        self._tasks.discard(task)
        last = job.last(lambda: CANCELLED if task.cancelled() else task.result())
        with self._lock:  # before the last event, after which nobody expects it to run
            self._running -= 1
            if isinstance(last, DoneEvent):
                self._generated += last.usage.completion_tokens
        job.end(last)

    def _cancel_soon(self, task: asyncio.Task[Outcome]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the task before it
            self._loop.call_soon_threadsafe(_cancel, task)

    def stop(self, last: Callable[[], Awaitable[None]]) -> None:
        """Cancel what runs, wait for it to end, do one last thing, and end the thread."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            asyncio.run_coroutine_threadsafe(self._end(last), self._loop)
        with contextlib.suppress(RuntimeError):  # closed from within a callback
            self._thread.join()

    async def _end(self, last: Callable[[], Awaitable[None]]) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            _cancel(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await last()
        finally:
            self._loop.stop()


def _cancel(task: asyncio.Task[Outcome]) -> None:
    # A second cancellation would interrupt the closing of the connection.
    if not task.done() and not task.cancelling():
        task.cancel()
