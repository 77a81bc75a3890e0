"""For engines whose library answers one request per call: each call runs in one of N threads.

``WorkerEngine`` queues requests, times them, and sees to it that each ends with exactly one
DoneEvent or ErrorEvent, also when it is cancelled while it waits. A subclass implements
``prepare`` (refuse, tokenise; in the caller's thread) and ``answer`` (generate; in a worker).
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
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
        self._queue: queue.SimpleQueue[tuple[Job, Callable[[], Outcome]] | None]
        self._queue = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._jobs: set[Job] = set()  # queued or running
        self._running = self._waiting = self._generated = 0

    def stats(self) -> EngineStats:
        with self._lock:
            return EngineStats(self._running, self._waiting, generated_tokens=self._generated)

    def put(self, job: Job, answer: Callable[[], Outcome]) -> None:
        with self._lock:
            self._jobs.add(job)
            self._waiting += 1
            if len(self._threads) < min(self._workers, len(self._jobs)):
                thread = threading.Thread(target=self._work, daemon=True, name="airust-engine")
                self._threads.append(thread)
                thread.start()
            self._queue.put((job, answer))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            job, answer = item
            with self._lock:
                self._waiting, self._running = self._waiting - 1, self._running + 1
            last = job.run(answer)
            with self._lock:  # before the last event, after which nobody expects it to run
                self._running -= 1
                if isinstance(last, DoneEvent):
                    self._generated += last.usage.completion_tokens
            job.end(last)
            with self._lock:
                self._jobs.discard(job)
            del (
                item,
                job,
                answer,
                last,
            )  # they hold the engine, and the queue may stay empty for long

    def stop(self) -> None:
        with self._lock:
            for job in self._jobs:
                job.cancel()
            for _ in self._threads:
                self._queue.put(None)
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
