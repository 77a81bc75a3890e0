"""Continuous batching: one thread, one step at a time, requests join and leave at every step.

Batching per step instead of per request is Orca's iteration-level scheduling (Yu et al. 2022,
section 3.1): a short answer leaves as soon as it is done, and a new request starts at once. Every
step takes one token from each request that decodes, and up to ``prefill_chunk`` prompt tokens of
those that have just arrived, first come first served. A long prompt is thus spread over several
steps and does not hold up the others (Agrawal et al. 2024, Sarathi-Serve, section 4).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque

import torch
from torch import Tensor

from airust.engines.base import EngineStats
from airust.engines.torch.forward import FastGPT
from airust.engines.torch.job import Job
from airust.engines.torch.sampler import Choice, choose_rows
from airust.engines.torch.slots import Slots
from airust.engines.torch.steps import Step, Work, plan
from airust.engines.torch.threads import ThreadTuner
from airust.engines.worker import first_line
from airust.types import AirustError, EngineError, FinishReason, OverloadedError

CLOSED = "The engine 'torch' is closed."
POISONED = "The model's output is not a number; are its weights damaged?"


class Scheduler:
    """Runs jobs. It knows no engine, so that a forgotten engine can be freed.

    Args:
        slots: belongs to the scheduler from now on.
        max_queue: jobs that may wait for a slot.
        prefill_chunk: prompt tokens a step at most.
        threads: of PyTorch; None finds out what is fastest.
    """

    def __init__(
        self, model: FastGPT, slots: Slots, max_queue: int, prefill_chunk: int, threads: int | None
    ) -> None:
        self._model, self._slots = model, slots
        self._max_queue, self._prefill_chunk = max_queue, prefill_chunk
        self._fixed_threads = threads
        self._all_threads = torch.get_num_threads()
        self._tuner = ThreadTuner(self._all_threads)
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []  # in order of arrival; the thread's own
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._queried = self._hit = self._generated = 0  # tokens, for the statistics

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            EngineError: the engine is closed.
            OverloadedError: too many jobs wait.
        """
        with self._changed:
            if self._closed:
                raise EngineError(CLOSED)
            # What waits for the next step only, because a slot is free, is not in the queue yet.
            free = self._slots.max_slots - len(self._running)
            if len(self._waiting) >= self._max_queue + free:
                raise OverloadedError(f"{self._max_queue} requests wait already; try again later.")
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, daemon=True, name="airust-torch")
                self._thread.start()
            self._changed.notify()

    def stats(self) -> EngineStats:
        """The moment's figures, read without stopping the thread."""
        return EngineStats(
            running=len(self._running),
            waiting=len(self._waiting),
            kv_tokens_used=self._slots.reserved,
            kv_tokens_total=self._slots.total,
            prefix_queries_tokens=self._queried,
            prefix_hits_tokens=self._hit,
            generated_tokens=self._generated,
        )

    def stop(self) -> None:
        """Cancel all jobs and end the thread. Safe to repeat."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    @torch.inference_mode()
    def _main(self) -> None:
        while self._has_work():
            try:
                self._step()
            except BaseException as error:  # whatever it is, it must reach those who wait
                self._fail_running(error)
        with self._changed:
            waiting, self._waiting = self._waiting, deque()
        for job in [*self._running, *waiting]:
            self._end(job, "cancelled")

    def _has_work(self) -> bool:
        """Wait for jobs; false when the engine is closed."""
        if not self._running and not self._waiting:
            torch.set_num_threads(self._all_threads)  # as it was, while there is nothing to do
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._running or self._waiting)
            return not self._closed

    def _step(self) -> None:
        self._drop_cancelled()
        self._admit()
        if not self._running:
            return
        jobs, works = self._share_out()
        step, asked = plan(works, self._slots.cache)
        logits = self._forward(step)
        for job, work in zip(jobs, works, strict=True):
            job.computed += len(work.tokens)
        choices = choose_rows(logits, [jobs[i].chooser for i in asked])
        for i, choice in zip(asked, choices, strict=True):
            self._advance(jobs[i], choice)

    def _drop_cancelled(self) -> None:
        with self._changed:
            dropped = [job for job in self._waiting if job.cancelled]
            for job in dropped:
                self._waiting.remove(job)
        for job in dropped + [job for job in self._running if job.cancelled]:
            self._end(job, "cancelled")

    def _admit(self) -> None:
        """Give slots to waiting jobs, in order of arrival."""
        while self._waiting:
            job = self._waiting[0]
            try:
                found = self._slots.acquire(job.ids, job.prompt_tokens + job.limit)
            except Exception as error:  # no memory for a larger table
                job.fail(_engine_error(error))
            else:
                if found is None:
                    return
                job.start(*found)
                self._queried += job.prompt_tokens if self._slots.reuse else 0
                self._hit += job.cached
                self._running.append(job)
            self._waiting.popleft()

    def _share_out(self) -> tuple[list[Job], list[Work]]:
        """What each running job may compute in the next step."""
        jobs, works, budget = [], [], self._prefill_chunk
        for job in self._running:
            pending = job.pending()
            if pending > 1 and budget == 0:
                continue
            work = job.work(most=1 if pending == 1 else budget)
            budget -= len(work.tokens) if pending > 1 else 0
            jobs.append(job)
            works.append(work)
        return jobs, works

    def _forward(self, step: Step) -> Tensor:
        rows = len(step.tokens)
        threads = self._fixed_threads or self._tuner.choose(rows)
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        start = time.perf_counter()
        logits = self._model.forward(step, self._slots.cache)
        self._tuner.note(rows, threads, time.perf_counter() - start)
        return logits

    def _advance(self, job: Job, choice: Choice | None) -> None:
        """Take a job one token further; whatever fails here is this job's own failure."""
        if choice is None:
            self._slots.cache.erase(job.slot)  # a masked NaN would still spoil the next request
            self._fail(job, EngineError(POISONED), held=0)
            return
        if job.computed == job.prompt_tokens:
            self._slots.hold(job.slot, job.ids)
        self._generated += 1
        try:
            reason = job.accept(choice)
            if reason is not None:
                self._end(job, reason)
        except Exception as error:
            self._fail(job, _engine_error(error), held=job.computed)

    def _end(self, job: Job, reason: FinishReason) -> None:
        """The last of a job, but for errors; whoever waits may submit the next one at once."""
        self._leave(job, held=job.computed)
        with contextlib.suppress(Exception):
            job.finish(reason)

    def _fail(self, job: Job, error: AirustError, held: int) -> None:
        self._leave(job, held)
        job.fail(error)

    def _leave(self, job: Job, held: int) -> None:
        if job in self._running:
            self._running.remove(job)
            self._slots.release(job.slot, job.ids[:held])

    def _fail_running(self, error: BaseException) -> None:
        """A step failed as a whole: nobody knows what the slots hold now."""
        jobs, self._running = self._running, []
        self._slots.clear()
        for job in jobs:
            job.fail(_engine_error(error))


def _engine_error(error: BaseException) -> AirustError:
    if isinstance(error, AirustError):
        return error
    return EngineError(f"The torch engine failed: {first_line(error)}.")
