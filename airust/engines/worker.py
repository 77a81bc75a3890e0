"""For engines whose library answers one request per call: each call runs in one of N threads.

``WorkerEngine`` queues requests, times them, and sees to it that each ends with exactly one
DoneEvent or ErrorEvent; one that is cancelled while it waits ends at once, in the thread that
cancels it. A subclass implements
``prepare`` (refuse, tokenise; in the caller's thread) and ``answer`` (generate; in a worker).
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from airust.engines.base import Engine, EngineStats, EventCallback
from airust.types import (
    AirustError,
    DoneEvent,
    EngineError,
    ErrorEvent,
    FinishReason,
    Request,
    Timings,
    TokenEvent,
    Usage,
)

Prepared = TypeVar("Prepared")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended, without the times."""

    finish_reason: FinishReason
    usage: Usage


class Job:
    """One request on its way: the handle for the caller, the outlet for the worker."""

    def __init__(self, request: Request, on_event: EventCallback) -> None:
        self.request = request
        self._on_event = on_event
        self._cancelled = threading.Event()
        self._interrupt: Callable[[], None] = lambda: None
        self._arrived = time.perf_counter()
        self._started = self._first = 0.0

    @property
    def cancelled(self) -> bool:
        """Somebody wants the request to stop."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask the worker to stop soon."""
        self._cancelled.set()
        self._interrupt()

    def on_cancel(self, interrupt: Callable[[], None]) -> None:
        """What wakes a worker that waits for its library; it may be called more than once."""
        self._interrupt = interrupt
        if self.cancelled:
            interrupt()

    def emit(self, event: TokenEvent) -> None:
        """Pass a token on to the caller."""
        self._first = self._first or time.perf_counter()
        self._on_event(event)

    def run(self, answer: Callable[[], Outcome]) -> DoneEvent | ErrorEvent:
        """Answer; returns the final event, for ``end``."""
        self.start()
        return self.last(lambda: Outcome("cancelled", Usage(0, 0)) if self.cancelled else answer())

    def start(self) -> None:
        """The request waits no longer."""
        self._started = time.perf_counter()

    def last(self, answer: Callable[[], Outcome]) -> DoneEvent | ErrorEvent:
        """The final event: how the answer ended, or the error that it raises."""
        try:
            outcome = answer()
            return DoneEvent(outcome.finish_reason, outcome.usage, self._timings())
        except AirustError as error:
            return ErrorEvent(error)
        except BaseException as error:  # a panic of a Rust library is no Exception
            return ErrorEvent(EngineError(first_line(error)))

    def end(self, last: DoneEvent | ErrorEvent) -> None:
        """Emit the one final event."""
        with contextlib.suppress(Exception):  # a callback that fails must not end the thread
            self._on_event(last)

    def _timings(self) -> Timings:
        now = time.perf_counter()
        first = self._first or now
        return Timings(self._started - self._arrived, first - self._arrived, now - self._arrived)


class WorkerEngine(Engine, Generic[Prepared]):
    """An engine of N threads, started when they are first needed."""

    def __init__(self, workers: int) -> None:
        self._pool = _Pool(workers)
        # Threads must end before the interpreter takes the library away under them.
        self._stop = weakref.finalize(self, self._pool.stop)

    @abstractmethod
    def prepare(self, request: Request) -> Prepared:
        """Whatever ``answer`` needs.

        Raises:
            UserError: the request is refused.
        """

    @abstractmethod
    def answer(self, prepared: Prepared, job: Job) -> Outcome:
        """Generate: emit tokens and look at ``job.cancelled`` between them."""

    def submit(self, request: Request, on_event: EventCallback) -> Job:
        """Queue a request and return at once."""
        self.check_open()
        self.check(request)
        prepared = self.prepare(request)
        job = Job(request, on_event)
        self._pool.put(job, lambda: self.answer(prepared, job))
        return job

    def stats(self) -> EngineStats:
        """Running and waiting requests, and the tokens of those that have ended."""
        return self._pool.stats()

    def check_open(self) -> None:
        """Refuse to go on after ``close``.

        Raises:
            EngineError: the engine is closed.
        """
        if not self._stop.alive:
            raise EngineError(f"The engine '{self.name}' is closed.")

    def close(self) -> None:
        """Cancel what runs, wait for it to end, and free the model."""
        self._stop()


class _Pool:
    """N daemon threads over one queue. It holds no engine, so that a forgotten one is freed."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        # Re-entrant, because the garbage collector may call `stop` in any thread at any moment.
        self._changed = threading.Condition(threading.RLock())
        self._threads: list[threading.Thread] = []
        self._waiting: dict[Job, Callable[[], Outcome]] = {}  # in the order of arrival
        self._answered: set[Job] = set()  # until their last event has been delivered
        self._running = self._generated = 0
        self._stopped = False

    def stats(self) -> EngineStats:
        with self._changed:
            waiting = len(self._waiting)
            return EngineStats(self._running, waiting, generated_tokens=self._generated)

    def put(self, job: Job, answer: Callable[[], Outcome]) -> None:
        with self._changed:
            self._waiting[job] = answer
            job.on_cancel(partial(self._drop, job))
            busy = len(self._waiting) + len(self._answered)
            if len(self._threads) < min(self._workers, busy):
                thread = threading.Thread(target=self._work, daemon=True, name="airust-engine")
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def _drop(self, job: Job) -> None:
        """End a cancelled job that still waits, at once: its turn may be minutes away."""
        with self._changed:
            answer = self._waiting.pop(job, None)
        if answer is not None:
            job.end(job.run(answer))

    def _take(self) -> tuple[Job, Callable[[], Outcome]] | None:
        """The next job; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            if not self._waiting:
                return None
            job = next(iter(self._waiting))
            answer = self._waiting.pop(job)
            self._answered.add(job)
            self._running += 1
            return job, answer

    def _work(self) -> None:
        while (item := self._take()) is not None:
            job, answer = item
            last = job.run(answer)
            with self._changed:  # before the last event, after which nobody expects it to run
                self._running -= 1
                if isinstance(last, DoneEvent):
                    self._generated += last.usage.completion_tokens
            job.end(last)
            with self._changed:
                self._answered.discard(job)
            # They hold the engine, and there may be nothing to do for long.
            del item, job, answer, last

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            jobs = [*self._waiting, *self._answered]
            self._changed.notify_all()
        for job in jobs:
            job.cancel()
        for thread in self._threads:
            with contextlib.suppress(RuntimeError):  # closed from within a callback
                thread.join()


def first_line(error: BaseException) -> str:
    """An error of a foreign library as one line, without its backtrace.

    >>> first_line(ValueError("no such file\\n   0: std::backtrace"))
    'no such file'
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
