"""Continuous batching: one thread, one step at a time, requests join and leave at every step.

Batching per step instead of per request is Orca's iteration-level scheduling (Yu et al. 2022,
section 3.1): a short answer leaves as soon as it is done, and a new request starts at once. Every
step takes one token from each request that decodes, and up to ``prefill_chunk`` prompt tokens of
those that have just arrived. A long prompt is thus spread over several steps and does not hold up
those that decode (Agrawal et al. 2024, Sarathi-Serve, section 4). Nor does it hold up a short
prompt behind it: half of the chunk is for the oldest prompt, the other half for those with the
fewest tokens left.
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
from airust.engines.torch.graphs import Graphs
from airust.engines.torch.job import Job
from airust.engines.torch.sampler import Choice, choose_rows
from airust.engines.torch.slots import WORTH_COPYING, Slots, common_length
from airust.engines.torch.steps import Step, Work, plan
from airust.engines.torch.threads import ThreadTuner
from airust.engines.worker import first_line
from airust.types import AirustError, EngineError, FinishReason, OverloadedError

ALONE = 512  # prompt tokens a step while nobody decodes
CLOSED = "The engine 'torch' is closed."


class Scheduler:
    """Runs jobs. It knows no engine, so that a forgotten engine can be freed.

    Args:
        slots: belongs to the scheduler from now on.
        max_queue: jobs that may wait for a slot.
        prefill_chunk: prompt tokens a step at most.
        threads: of PyTorch at most; None is as many as it is set to.
    """

    def __init__(
        self, model: FastGPT, slots: Slots, max_queue: int, prefill_chunk: int, threads: int | None
    ) -> None:
        self._model, self._slots = model, slots
        self._graphs = Graphs(model)
        self._max_queue, self._prefill_chunk = max_queue, prefill_chunk
        self._usual_threads = torch.get_num_threads()
        self._tuner = ThreadTuner(threads or self._usual_threads)
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
                raise OverloadedError(
                    f"The queue is full (max_queue is {self._max_queue}); try again later."
                )
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
            torch.set_num_threads(self._usual_threads)  # as it was, while there is nothing to do
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
            if job.computed <= job.prompt_tokens:
                self._slots.hold(job.slot, job.ids[: job.computed])
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
        jobs = [job for job in self._running if job.pending() == 1]
        works = [job.work(most=1) for job in jobs]
        prompts = [job for job in self._running if job.pending() > 1]
        # While nobody decodes, nobody is held up by a longer step.
        budget = self._prefill_chunk if jobs else max(self._prefill_chunk, ALONE)
        for job, share in self._shares(prompts, budget).items():
            jobs.append(job)
            works.append(job.work(share))
        return jobs, works

    def _shares(self, prompts: list[Job], left: int) -> dict[Job, int]:
        """How many tokens of which prompts to compute in a step that has room for so many."""
        shares: dict[Job, int] = {}
        by_length = sorted(prompts, key=Job.pending)  # of equals, the oldest comes first
        oldest = [(job, (left + 1) // 2) for job in prompts[:1]]
        for job, most in [*oldest, *((job, left) for job in by_length)]:
            if left == 0:
                break
            if not job.begun and job not in shares:
                self._catch_up(job)
                if self._slots.reuse and any(_computes_for(o, n, job) for o, n in shares.items()):
                    continue
            share = min(most, left, job.pending() - shares.get(job, 0))
            if share:
                shares[job] = shares.get(job, 0) + share
                left -= share
        return shares

    def _catch_up(self, job: Job) -> None:
        """Take over what other slots hold of a prompt by now, before any of it is computed."""
        found = self._slots.catch_up(job.slot, job.ids, job.computed)
        self._hit += found - job.computed
        job.computed = job.cached = found

    def _forward(self, step: Step) -> Tensor:
        if self._model.device.type == "cuda":
            return self._forward_on_gpu(step)
        rows = len(step.tokens)
        threads = self._tuner.choose(rows, step.decodes)
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        start = time.perf_counter()
        logits = self._model.forward(step, self._slots.cache)
        self._tuner.note(rows, threads, time.perf_counter() - start, step.decodes)
        return logits

    def _forward_on_gpu(self, step: Step) -> Tensor:
        """Sampling goes on on the CPU, so the logits come back."""
        cache = self._slots.cache
        if step.pieces or step.outputs is not None:
            return self._model.forward(step, cache).cpu()
        return self._graphs.forward(step, cache).cpu()

    def _advance(self, job: Job, choice: Choice | EngineError) -> None:
        """Take a job one token further; whatever fails here is this job's own failure."""
        if isinstance(choice, EngineError):
            self._slots.cache.erase(job.slot)  # a masked NaN would still spoil the next request
            self._fail(job, choice, held=0)
            return
        self._generated += 1
        try:
            reason = job.accept(choice)
            if reason is not None:
                self._end(job, reason)
            elif self._slots.outgrown(job.slot, len(job.ids)):
                job.computed = 0
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


def _computes_for(other: Job, share: int, job: Job) -> bool:
    """Whether another job's share has a beginning of this job's prompt, to be copied afterwards."""
    end = other.computed + share
    gain = common_length(other.ids[:end], job.ids) - max(other.computed, job.computed)
    return gain >= WORTH_COPYING


def _engine_error(error: BaseException) -> AirustError:
    if isinstance(error, AirustError):
        return error
    return EngineError(f"The torch engine failed: {first_line(error)}.")
