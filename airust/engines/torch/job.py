"""One request on its way through the scheduler."""

from __future__ import annotations

import contextlib
import time
from functools import partial

from airust.engines.base import EventCallback
from airust.engines.constraint import Constraint
from airust.engines.text import Prompt, TextStream
from airust.engines.torch.sampler import Choice, Chooser
from airust.engines.torch.steps import Work
from airust.gpt.text import token_text
from airust.gpt.tokenizer import Tokenizer
from airust.types import (
    AirustError,
    DoneEvent,
    ErrorEvent,
    FinishReason,
    Timings,
    TokenEvent,
    TopLogprob,
)


class Job:
    """A request with its tokens. It is its own handle.

    All but ``cancel`` is called from the scheduler's thread only.

    Args:
        vocab_size: of the model; it may be larger than the tokenizer's.
        constraint: what the answer has to match.

    Raises:
        UserError: logit_bias names a token outside the vocabulary.
    """

    def __init__(
        self,
        prompt: Prompt,
        vocab_size: int,
        tokenizer: Tokenizer,
        on_event: EventCallback,
        constraint: Constraint | None = None,
    ) -> None:
        self.prompt, params = prompt, prompt.request.params
        self.ids = list(prompt.ids)  # the prompt, then what has been generated
        self.prompt_tokens, self.limit = len(prompt.ids), prompt.limit
        self.chooser = Chooser(params, prompt.ids, vocab_size, constraint)
        self.cancelled = False
        self.slot = -1  # -1 = none
        self.computed = 0  # tokens whose keys and values are in the slot
        self.cached = 0  # of them, found there at the start
        self._tokenizer, self._on_event = tokenizer, on_event
        self._text = TextStream(tokenizer.decode, params.stop, tokenizer.whole)
        self._eos = () if params.ignore_eos else tokenizer.eos_ids
        self._generated = 0  # the end-of-text token counts too
        self._arrived = time.perf_counter()
        self._started = self._first = 0.0

    def cancel(self) -> None:
        """Stop at the next step. Safe to repeat, from any thread."""
        self.cancelled = True

    def start(self, slot: int, cached: int) -> None:
        """The job has got a slot that holds the first tokens already."""
        self.slot, self.computed, self.cached = slot, cached, cached
        self._started = time.perf_counter()

    @property
    def begun(self) -> bool:
        """A token of the job has been computed, not just found."""
        return self._generated > 0 or self.computed > self.cached

    def pending(self) -> int:
        """Tokens to run through the model before the next one can be chosen."""
        return len(self.ids) - self.computed

    def work(self, most: int) -> Work:
        """The next pending tokens, ``most`` at most."""
        end = min(self.computed + most, len(self.ids))
        return Work(self.slot, self.computed, self.ids[self.computed : end], end == len(self.ids))

    def accept(self, choice: Choice) -> FinishReason | None:
        """Take the next token in, and pass it on; the reason if it is the last."""
        self._first = self._first or time.perf_counter()
        self._generated += 1
        if choice.token in self._eos:
            return "stop"
        self.ids.append(choice.token)
        self.chooser.note(choice.token)
        piece = self._text.push(choice.token)
        self._on_event(TokenEvent(piece, choice.token, choice.logprob, self._top(choice)))
        if self._text.stopped or self.chooser.complete:
            return "stop"
        return "length" if self._generated == self.limit else None

    def _top(self, choice: Choice) -> tuple[TopLogprob, ...]:
        decode = partial(self._tokenizer.decode, skip_special=False)
        return tuple(TopLogprob(i, token_text(decode, i), p) for i, p in choice.top)

    def finish(self, reason: FinishReason) -> None:
        """Pass on what text is left, and the last event."""
        rest = "" if reason == "cancelled" else self._text.finish()
        if rest:
            self._on_event(TokenEvent(rest))
        usage = self.prompt.usage(self._generated, self.cached)
        self._on_event(DoneEvent(reason, usage, self._timings()))

    def fail(self, error: AirustError) -> None:
        """Pass on an error as the last event."""
        with contextlib.suppress(Exception):  # the callback may be what failed
            self._on_event(ErrorEvent(error))

    def _timings(self) -> Timings:
        now = time.perf_counter()
        started, first = self._started or now, self._first or now
        return Timings(started - self._arrived, first - self._arrived, now - self._arrived)
