"""The engine contract: submit a request, receive events through a callback, cancel by a handle.

An engine implements ``load``, ``submit`` and ``close``; blocking ``generate``, the iterator
``stream`` and the async iterator ``astream`` are folds over the events and live here, once.

Example, with the echo engine:

>>> from airust.engines.dummy import DummyEngine
>>> from airust.types import Message, Request
>>> DummyEngine().generate(Request(messages=(Message("user", "hello rust"),))).text
'hello rust'
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

from airust.types import (
    Completion,
    DoneEvent,
    EngineError,
    ErrorEvent,
    Event,
    Request,
    SamplingParams,
    TokenEvent,
    TopLogprob,
    UnsupportedError,
    UserError,
)

EventCallback = Callable[[Event], None]


class Handle(Protocol):
    """Returned by ``submit``."""

    def cancel(self) -> None:
        """Stop the request soon; its last event is DoneEvent("cancelled"). Safe to repeat."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do. More raises UnsupportedError; nothing is dropped silently."""

    chat: bool = True  # accepts messages
    raw_prompt: bool = False  # accepts a raw prompt
    token_ids: bool = False  # accepts token ids
    logprobs: bool = False  # gives the chosen token's logprob and the top k
    seed: bool = False  # the same seed gives the same tokens
    json_schema: bool = False  # constrains the output to a schema
    regex: bool = False  # constrains the output to a regular expression
    batching: bool = False  # several requests advance in the same step
    top_k: bool = True  # some services know only top_p
    min_p: bool = False
    repetition_penalty: bool = False
    penalties: bool = False  # presence_penalty and frequency_penalty
    logit_bias: bool = False
    ignore_eos: bool = False
    trim: bool = False  # leaves out the oldest part of a prompt that is too long, if asked to


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """The teacher-forced prediction for one position of a given continuation."""

    logprob: float  # of the given token, natural logarithm
    top: tuple[TopLogprob, ...]  # the likeliest alternatives, likeliest first


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine is doing at the moment, and three counters that only grow.

    What an engine does not know stays 0, or None where 0 would be a claim.
    """

    running: int = 0  # requests that are being answered
    waiting: int = 0  # requests that have been accepted but not begun
    kv_tokens_used: int | None = None  # places in the KV cache that running requests have reserved
    kv_tokens_total: int | None = None  # such places that there can be
    prefix_queries_tokens: int = 0  # prompt tokens looked up in the prefix cache
    prefix_hits_tokens: int = 0  # of them, found there
    generated_tokens: int = 0


class Engine(ABC):
    """One loaded model, ready to answer from any thread."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    # Engines that name the same sampler draw the same tokens for the same seed; "" is its own.
    sampler: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Load a model folder, file or hub name.

        Raises:
            EngineUnavailableError: the engine's library is not installed.
            UserError: the model cannot be read, or an option is unknown.
        """

    @abstractmethod
    def submit(self, request: Request, on_event: EventCallback) -> Handle:
        """Start a request and return at once.

        ``on_event`` is called from the engine's thread with TokenEvents and then exactly one
        DoneEvent or ErrorEvent; it must return quickly and must not raise.

        Raises:
            UserError: the request is refused (capabilities, context length).
        """

    @abstractmethod
    def close(self) -> None:
        """Cancel what runs and free the model. Safe to repeat."""

    @property
    def settings(self) -> dict[str, object]:
        """What the model was loaded with, for reports: dtype, threads, and the like."""
        return {}

    @property
    def context(self) -> int | None:
        """Tokens that prompt and answer may have together; None where the engine does not tell."""
        return None

    def stats(self) -> EngineStats:
        """The moment's figures. Cheap, and safe from any thread, also after ``close``."""
        return EngineStats()

    def encode(self, text: str) -> list[int]:
        """The token ids of plain text; nothing is added.

        Raises:
            UnsupportedError: the engine has no tokenizer to ask.
        """
        raise UnsupportedError(f"The engine '{self.name}' does not tell how it tokenises.")

    def prompt_ids(self, request: Request) -> list[int]:
        """The token ids that a request goes on from: chat form and added tokens included.

        Raises:
            UnsupportedError: the engine does not tell.
            UserError: the request is not valid.
        """
        if request.token_ids is not None:
            return list(request.token_ids)
        if request.prompt is not None:
            return self.encode(request.prompt)
        raise UnsupportedError(f"The engine '{self.name}' does not tell its chat form.")

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens spelled out and broken UTF-8 as U+FFFD.

        Raises:
            UnsupportedError: the engine has no tokenizer to ask.
            UserError: an id is outside the vocabulary.
        """
        raise UnsupportedError(f"The engine '{self.name}' does not tell how it tokenises.")

    def greedy(
        self, prompt_ids: Sequence[int], max_tokens: int, top_k: int = 0
    ) -> list[TokenEvent]:
        """Decode greedily without stopping at the end-of-text token, one entry a token.

        With ``top_k`` above 0 an engine that gives logprobs adds them to the entries.

        Raises:
            UnsupportedError: the engine takes no token ids or always stops at end of text.
            EngineError: the engine reports runs of tokens instead of tokens.
        """
        wanted = top_k if top_k and self.capabilities.logprobs else None
        params = SamplingParams(max_tokens=max_tokens, ignore_eos=True, logprobs=wanted)
        answer = self.generate(Request(token_ids=tuple(prompt_ids), params=params))
        tokens = [event for event in answer.tokens if event.token_id is not None]
        if len(tokens) != answer.usage.completion_tokens:
            raise EngineError(f"The engine '{self.name}' does not report every token by its id.")
        return tokens

    def score(
        self, prompt_ids: Sequence[int], continuation_ids: Sequence[int], top_k: int = 8
    ) -> Sequence[ScoredToken | None]:
        """Teacher-forced logprobs of a continuation, one entry a continuation token.

        Here they come from greedy decoding, which tells the same numbers as long as it generates
        the given tokens; where it does not, the given token is looked up among the top k and
        decoding starts anew behind it, one token and then twice as many each time it is right, so
        that a text that is nothing like the model's own costs one token a place. An engine that
        can run a forward pass overrides this.
        An entry is None where the given token is not among the top k, or where the engine
        cannot go on from the tokens before it.

        Raises:
            UnsupportedError: the engine gives no logprobs.
        """
        if not self.capabilities.logprobs:
            raise UnsupportedError(f"The engine '{self.name}' gives no logprobs.")
        scores: list[ScoredToken | None] = []
        ahead = len(continuation_ids)  # at first all: it may be the model's own answer
        while left := len(continuation_ids) - len(scores):
            so_far = [*prompt_ids, *continuation_ids[: len(scores)]]
            try:
                events = self.greedy(so_far, min(ahead, left), max(top_k, 1))
            except UserError:  # the engine cannot take these tokens
                if not scores:
                    raise
                scores.append(None)
                continue
            if not events:
                raise EngineError(f"The engine '{self.name}' generated nothing to score.")
            ahead *= 2
            for event in events:
                given = continuation_ids[len(scores)]
                scores.append(_given_token(event, given))
                if event.token_id != given:
                    ahead = 1
                    break
        return scores

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def check(self, request: Request) -> None:
        """Refuse what is outside the capabilities, or is no text.

        Raises:
            UnsupportedError: names the first thing that the engine cannot do.
            UserError: a text has no UTF-8 form.
        """
        _check_unicode(request)
        can, params = self.capabilities, request.params
        penalised = params.presence_penalty != 0 or params.frequency_penalty != 0
        wanted = (
            (request.messages is not None, can.chat, "chat messages"),
            (request.prompt is not None, can.raw_prompt, "a raw prompt"),
            (request.token_ids is not None, can.token_ids, "token ids"),
            (params.logprobs is not None, can.logprobs, "logprobs"),
            (params.seed is not None, can.seed, "a seed"),
            (params.json_schema is not None, can.json_schema, "a JSON schema"),
            (params.regex is not None, can.regex, "a regular expression"),
            (params.top_k > 0, can.top_k, "top_k"),
            (params.min_p > 0, can.min_p, "min_p"),
            (params.repetition_penalty != 1, can.repetition_penalty, "a repetition penalty"),
            (penalised, can.penalties, "presence or frequency penalties"),
            (bool(params.logit_bias), can.logit_bias, "logit_bias"),
            (params.ignore_eos, can.ignore_eos, "ignore_eos"),
            (request.overflow == "trim", can.trim, "trimming of long prompts"),
        )
        for asked, able, what in wanted:
            if asked and not able:
                raise UnsupportedError(
                    f"The engine '{self.name}' does not support {what}; "
                    f"`airust engines` lists the ones that do."
                )

    def generate(self, request: Request) -> Completion:
        """Answer a request and wait for the whole of it.

        Raises:
            AirustError: the request was refused or failed.
        """
        tokens: list[TokenEvent] = []
        for event in self.events(request):
            if isinstance(event, TokenEvent):
                tokens.append(event)
            elif isinstance(event, DoneEvent):
                return Completion(
                    text="".join(t.text for t in tokens),
                    tokens=tuple(tokens),
                    finish_reason=event.finish_reason,
                    usage=event.usage,
                    timings=event.timings,
                )
        raise EngineError(f"The engine '{self.name}' ended a request without saying so.")

    def stream(self, request: Request) -> Generator[str, None, None]:
        """The answer's text pieces as they come. Leaving the loop cancels the request."""
        with contextlib.closing(self.events(request)) as events:
            for event in events:
                if isinstance(event, TokenEvent) and event.text:
                    yield event.text

    def events(self, request: Request) -> Generator[Event, None, None]:
        """All events of a request; an ErrorEvent is raised. Leaving the loop cancels it."""
        inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        handle = self.submit(request, inbox.put)
        try:
            while True:
                event = inbox.get()
                if isinstance(event, ErrorEvent):
                    raise event.error
                yield event
                if isinstance(event, DoneEvent):
                    return
        finally:
            handle.cancel()

    async def astream(self, request: Request) -> AsyncGenerator[Event, None]:
        """``events`` for asyncio: no thread is spent while waiting. Leaving the loop cancels."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[Event] = asyncio.Queue()
        handle = self.submit(request, lambda e: _post(loop, inbox, e))
        try:
            while True:
                event = await inbox.get()
                if isinstance(event, ErrorEvent):
                    raise event.error
                yield event
                if isinstance(event, DoneEvent):
                    return
        finally:
            handle.cancel()


def _post(loop: asyncio.AbstractEventLoop, inbox: asyncio.Queue[Event], event: Event) -> None:
    # The loop may have closed while the engine was still cancelling.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(inbox.put_nowait, event)


def _check_unicode(request: Request) -> None:
    """Libraries stumble over half a surrogate pair, each in its own way."""
    messages, params = request.messages or (), request.params
    texts = (*(m.content for m in messages), request.prompt or "", *params.stop)
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError as error:
        raise UserError("The text is not valid Unicode: it holds a lone surrogate.") from error


def _given_token(event: TokenEvent, given: int) -> ScoredToken | None:
    """The score of a given token, read from what the engine would have generated there."""
    known = {top.token_id: top.logprob for top in event.top}
    if event.token_id == given and event.logprob is not None:
        return ScoredToken(event.logprob, event.top)
    return ScoredToken(known[given], event.top) if given in known else None


def take_options(
    engine: str, options: dict[str, object], known: dict[str, object]
) -> dict[str, object]:
    """Merge user options over defaults.

    Raises:
        UserError: an option that the engine does not know.
    """
    for key in options:
        if key not in known:
            names = ", ".join(sorted(known)) or "none"
            raise UserError(f"The engine '{engine}' has no option '{key}'; it knows: {names}.")
    return known | options
