"""Several requests in one llama.cpp context: continuous batching in one thread.

A task is a list of tokens, of which the first ``fed`` are in the context, and the question from
which token on it wants to see logits. Generating appends a token for each row of logits; scoring
knows its tokens beforehand and only reads the rows. Both go through the same steps:

1. admit waiting tasks to free slots, preferring the slot that already holds their beginning;
2. plan a batch: tasks with fewest tokens left first, so that no answer waits for a long prompt;
3. decode it, and hand each task its rows.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

import torch
from torch import Tensor

from airust.engines.base import EngineStats, EventCallback, ScoredToken
from airust.engines.constraint import Constraint
from airust.engines.llamacpp.context import BATCH_TOKENS, LlamaContext, Piece
from airust.engines.llamacpp.tokenizer import EngineTokenizer
from airust.engines.logits import score_token, token_event
from airust.engines.text import Prompt, TextStream
from airust.engines.worker import first_line
from airust.gpt.sampling import Adjustments, Dice, choose
from airust.types import (
    AirustError,
    DoneEvent,
    EngineError,
    ErrorEvent,
    FinishReason,
    Timings,
    TokenEvent,
)


class Task(ABC):
    """Tokens on their way through the context."""

    reuses = True  # may skip tokens that a slot already holds
    generates = False  # each row of logits becomes a new token

    def __init__(self, ids: list[int], first_output: int) -> None:
        self.ids = ids
        self.first_output = first_output  # logits are wanted from this position on
        self.fed = 0
        self.slot = -1
        self.finished = False
        self._cancelled = threading.Event()

    @property
    def left(self) -> int:
        """Tokens that still have to be decoded."""
        return len(self.ids) - self.fed

    @property
    def cancelled(self) -> bool:
        """Somebody wants the task to stop."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask for an end soon; safe to repeat and after the end."""
        self._cancelled.set()

    @abstractmethod
    def begin(self, cached: int) -> None:
        """The task leaves the queue; its first ``cached`` tokens need no computing."""

    @abstractmethod
    def take(self, logits: Tensor) -> None:
        """One row of logits (V), in order; sets ``finished`` after the last that is wanted."""

    @abstractmethod
    def stop(self) -> None:
        """End a cancelled task."""

    @abstractmethod
    def fail(self, error: AirustError) -> None:
        """End with an error."""


class Generation(Task):
    """One request; also the handle that the caller gets."""

    generates = True

    def __init__(
        self,
        prompt: Prompt,
        tokenizer: EngineTokenizer,
        on_event: EventCallback,
        adjust: Adjustments,
        constraint: Constraint | None = None,
    ) -> None:
        super().__init__(list(prompt.ids), first_output=len(prompt.ids) - 1)
        self._prompt, self._cached = prompt, 0
        self._params = params = prompt.request.params
        self._tokenizer, self._on_event = tokenizer, on_event
        self._spell = partial(tokenizer.decode, skip_special=False)
        self._stream = TextStream(tokenizer.decode, params.stop)
        self._dice = Dice(params.seed)
        self._adjust, self._constraint = adjust, constraint
        self._count = 0
        self._arrived = time.perf_counter()
        self._started = self._first = 0.0

    def begin(self, cached: int) -> None:
        """Start the clock."""
        self._started, self._cached = time.perf_counter(), cached

    def take(self, logits: Tensor) -> None:
        """Choose the next token and tell it."""
        allowed = self._constraint.allowed() if self._constraint else None
        token = choose(logits, self._params, self._dice, self._adjust, allowed)
        if token in self._tokenizer.eos_ids and not self._params.ignore_eos:
            return self._end("stop")
        self._count += 1
        self._adjust.note(token)
        if self._constraint:
            self._constraint.note(token)
        self._first = self._first or time.perf_counter()
        self._on_event(self._event(token, logits))
        if self._stream.stopped or (self._constraint and self._constraint.complete):
            return self._end("stop")
        if self._count == self._prompt.limit:
            return self._end("length")
        self.ids.append(token)
        return None

    def _event(self, token: int, logits: Tensor) -> TokenEvent:
        text = self._stream.push(token)
        return token_event(text, token, logits, self._params.logprobs, self._spell)

    def stop(self) -> None:
        """End with "cancelled"."""
        self._end("cancelled")

    def fail(self, error: AirustError) -> None:
        """End with an ErrorEvent."""
        self.finished = True
        self._on_event(ErrorEvent(error))

    def _end(self, reason: FinishReason) -> None:
        self.finished = True
        if rest := self._stream.finish():
            self._on_event(TokenEvent(rest))
        now = time.perf_counter()
        started, first = self._started or now, self._first or now
        self._on_event(
            DoneEvent(
                reason,
                self._prompt.usage(self._count, self._cached),
                Timings(started - self._arrived, first - self._arrived, now - self._arrived),
            )
        )


class Scoring(Task):
    """Logprobs of given tokens; ``result`` waits for them."""

    reuses = False  # a judge of other engines computes everything itself

    def __init__(
        self, ids: Sequence[int], prompt: int, top_k: int, tokenizer: EngineTokenizer
    ) -> None:
        super().__init__(list(ids[:-1]), first_output=prompt - 1)
        self._given = list(ids[prompt:])
        self._top_k, self._spell = top_k, partial(tokenizer.decode, skip_special=False)
        self._scores: list[ScoredToken] = []
        self._future: Future[list[ScoredToken]] = Future()

    def begin(self, cached: int) -> None:
        """Nothing to prepare."""

    def take(self, logits: Tensor) -> None:
        """Score the next given token."""
        given = self._given[len(self._scores)]
        self._scores.append(score_token(given, logits, self._top_k, self._spell))
        if len(self._scores) == len(self._given):
            self.finished = True
            self._future.set_result(self._scores)

    def stop(self) -> None:
        """End because the engine closes."""
        self.fail(EngineError("The engine was closed while it was scoring."))

    def fail(self, error: AirustError) -> None:
        """End with an error."""
        self.finished = True
        self._future.set_exception(error)

    def result(self) -> list[ScoredToken]:
        """Wait for the scores.

        Raises:
            EngineError: llama.cpp failed, or the engine was closed.
        """
        return self._future.result()


class Scheduler:
    """Owns a context and the one thread that uses it; ``stop`` frees both."""

    def __init__(self, context: LlamaContext, prefix_cache: bool) -> None:
        self._context, self._prefix_cache = context, prefix_cache
        self._held: list[list[int]] = [[] for _ in range(context.sequences)]  # by slot
        self._free = set(range(context.sequences))
        self._active: list[Task] = []
        self._waiting: deque[Task] = deque()
        self._inbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()  # None: stop
        self._lock = threading.Lock()
        self._stopping = False
        self._queried = self._hit = self._generated = 0  # tokens, for the statistics
        self._thread = threading.Thread(target=self._run, daemon=True, name="airust-llamacpp")
        self._thread.start()

    def put(self, task: Task) -> None:
        """Queue a task.

        Raises:
            EngineError: the engine is closed.
        """
        with self._lock:  # nothing may come behind the None
            if self._stopping:
                raise EngineError("The engine 'llamacpp' is closed.")
            self._inbox.put(task)

    def stats(self) -> EngineStats:
        """The moment's figures, read without stopping the thread."""
        running = [task for task in list(self._active) if not task.finished]
        return EngineStats(
            running=len(running),
            waiting=len(self._waiting) + self._inbox.qsize(),
            kv_tokens_used=sum(len(task.ids) for task in running),
            kv_tokens_total=len(self._held) * self._context.context,
            prefix_queries_tokens=self._queried,
            prefix_hits_tokens=self._hit,
            generated_tokens=self._generated,
        )

    def stop(self) -> None:
        """Cancel everything, free the context, and wait for that."""
        with self._lock:
            self._stopping = True
            self._inbox.put(None)
        with contextlib.suppress(RuntimeError):  # closed from within a callback
            self._thread.join()

    def _run(self) -> None:
        failure: EngineError | None = None
        try:
            while self._receive():
                self._admit()
                self._step()
        except Exception as error:  # nobody may wait for ever for a thread that is gone
            failure = EngineError(f"The engine 'llamacpp' failed: {first_line(error)}.")
        self._context.close()
        with self._lock:
            self._stopping = True
        while not self._inbox.empty():
            if task := self._inbox.get():
                self._waiting.append(task)
        for task in (*self._active, *self._waiting):
            if failure:
                task.fail(failure)
            else:
                task.stop()

    def _receive(self) -> bool:
        """Take what has arrived, waiting if there is nothing else to do; false means stop."""
        idle = not self._active and not self._waiting
        while idle or not self._inbox.empty():
            task = self._inbox.get()
            if task is None:
                return False
            self._waiting.append(task)
            idle = False
        return not self._stopping

    def _admit(self) -> None:
        for task in [t for t in self._waiting if t.cancelled]:
            self._waiting.remove(task)
            task.stop()
        while self._waiting and self._free:
            task = self._waiting.popleft()
            task.slot, task.fed = self._place(task)
            self._free.remove(task.slot)
            if not self._context.keep(task.slot, task.fed):
                task.fed = 0
                self._context.keep(task.slot, 0)
            del self._held[task.slot][task.fed :]
            self._hit += task.fed
            self._active.append(task)
            task.begin(task.fed)

    def _place(self, task: Task) -> tuple[int, int]:
        """A free slot and how many of the task's tokens it holds already."""
        if not (self._prefix_cache and task.reuses):
            return min(self._free), 0
        self._queried += len(task.ids)
        # The row of logits at first_output has to be computed, whoever else computed it before.
        wanted = task.ids[: task.first_output]
        common = {slot: _common_prefix(self._held[slot], wanted) for slot in self._free}
        # Low slots first: llama.cpp decodes neighbouring sequences together.
        slot = min(self._free, key=lambda s: (-common[s], s))
        return slot, common[slot]

    def _step(self) -> None:
        for task in self._active:
            if task.cancelled:
                task.stop()
        self._release()
        plan = self._plan()
        if not plan:
            return
        try:
            rows = torch.from_numpy(self._context.decode([piece for _, piece in plan]))
        except EngineError as error:
            return self._fail_all(error)
        at = 0
        for task, piece in plan:
            task.fed += len(piece.tokens)
            self._held[task.slot] += piece.tokens
            self._generated += piece.outputs if task.generates else 0
            _hand_over(task, rows[at : at + piece.outputs])
            at += piece.outputs
        self._release()

    def _plan(self) -> list[tuple[Task, Piece]]:
        room, outputs = BATCH_TOKENS, self._context.most_outputs
        plan = []
        for task in sorted(self._active, key=lambda t: t.left):
            silent = max(0, min(task.left, task.first_output - task.fed))
            size = min(task.left, room, silent + outputs)
            if size < 1:
                continue
            wanted = max(0, size - silent)
            tokens = task.ids[task.fed : task.fed + size]
            plan.append((task, Piece(task.slot, task.fed, tokens, wanted)))
            room, outputs = room - size, outputs - wanted
        return sorted(plan, key=lambda pair: pair[0].slot)

    def _release(self) -> None:
        for task in [t for t in self._active if t.finished]:
            self._active.remove(task)
            self._free.add(task.slot)

    def _fail_all(self, error: EngineError) -> None:
        for task in self._active:
            task.fail(error)
            self._context.keep(task.slot, 0)
            self._held[task.slot].clear()
        self._release()


def _hand_over(task: Task, rows: Tensor) -> None:
    try:
        for row in rows:
            task.take(row)
    except AirustError as error:  # the request's grammar
        task.fail(error)
    except Exception as error:  # one request's trouble must not end the others'
        task.fail(EngineError(f"The engine 'llamacpp' failed: {first_line(error)}."))


def _common_prefix(held: Sequence[int], wanted: Sequence[int]) -> int:
    """How many tokens two lists have in common at their beginning.

    >>> _common_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    count = min(len(held), len(wanted))
    if held[:count] == wanted[:count]:
        return count
    return next(i for i in range(count) if held[i] != wanted[i])
