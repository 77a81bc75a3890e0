"""The vocabulary that every part of airust shares: messages, requests, events, errors.

Standard library only and frozen, so that an engine, the service, a notebook widget and a test
can pass these values between threads without copying.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled"]
Overflow = Literal["refuse", "trim"]


class AirustError(Exception):
    """Something failed; the message is one sentence that can be shown to the user as it is."""


class UserError(AirustError):
    """The user can put it right: a bad value, a missing file. The CLI exits with 2."""


class EngineUnavailableError(UserError):
    """The engine's library is not installed; the message says how to install it."""


class UnsupportedError(UserError):
    """The engine was asked for something outside its capabilities."""


class ContextOverflowError(UserError):
    """Prompt and requested output do not fit into the model's context."""


class EngineError(AirustError):
    """The engine failed while it was answering a valid request."""


class OverloadedError(EngineError):
    """Too many requests wait already; the same request may be answered later."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Raises:
        UserError: the role is unknown.
    """

    role: Role
    content: str

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            known = ", ".join(get_args(Role))
            raise UserError(f"The role {self.role!r} is unknown; the roles are: {known}.")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to choose the next token and when to stop. The default is greedy decoding."""

    max_tokens: int = 256  # new tokens at most
    temperature: float = 0.0  # 0 = greedy
    top_k: int = 0  # keep the k likeliest tokens; 0 = all
    top_p: float = 1.0  # nucleus: keep the smallest set with this probability mass
    min_p: float = 0.0  # drop tokens below this share of the likeliest one's probability
    repetition_penalty: float = 1.0  # CTRL (Keskar et al. 2019, section 4.1); 1 = off
    presence_penalty: float = 0.0  # taken off the logit of each token generated so far
    frequency_penalty: float = 0.0  # the same, once for each time it was generated
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id, what is added to its logit)
    seed: int | None = None  # the same seed and request give the same tokens
    stop: tuple[str, ...] = ()  # generation ends before the first of these strings
    # None = none; k = the chosen token's logprob and the top k, as the model itself has them:
    # before temperature, filters, penalties, bias and grammar.
    logprobs: int | None = None
    json_schema: str | None = None  # constrain the output to this JSON schema
    regex: str | None = None  # constrain the output to this regular expression
    ignore_eos: bool = False  # generate max_tokens whatever the model says (benchmarks)

    def __post_init__(self) -> None:
        checks = (
            (self.max_tokens >= 1, "max_tokens", self.max_tokens, "at least 1"),
            (0 <= self.temperature < math.inf, "temperature", self.temperature, "0 or more"),
            (self.top_k >= 0, "top_k", self.top_k, "0 (off) or more"),
            (0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1"),
            (0 <= self.min_p < 1, "min_p", self.min_p, "0 or more and below 1"),
            (
                0 < self.repetition_penalty < math.inf,
                "repetition_penalty",
                self.repetition_penalty,
                "above 0",
            ),
            (
                abs(self.presence_penalty) <= 2,
                "presence_penalty",
                self.presence_penalty,
                "between -2 and 2",
            ),
            (
                abs(self.frequency_penalty) <= 2,
                "frequency_penalty",
                self.frequency_penalty,
                "between -2 and 2",
            ),
            (
                all(abs(bias) <= 100 for _, bias in self.logit_bias),
                "logit_bias",
                self.logit_bias,
                "numbers between -100 and 100",
            ),
            (self.logprobs is None or self.logprobs >= 0, "logprobs", self.logprobs, "0 or more"),
            (all(self.stop), "stop", self.stop, "non-empty strings"),
        )
        for good, name, value, wanted in checks:
            if not good:
                raise UserError(f"{name} is {value!r} but must be {wanted}.")
        if self.json_schema is not None and self.regex is not None:
            raise UserError("json_schema and regex exclude each other; give one of them.")
        if self.ignore_eos and (self.json_schema or self.regex) is not None:
            raise UserError("ignore_eos would go on behind the end of a json_schema or regex.")


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate from: exactly one of messages, a raw prompt, or token ids.

    Raises:
        UserError: none or more than one of the three is given, it is empty, or overflow is unknown.
    """

    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    token_ids: tuple[int, ...] | None = None
    params: SamplingParams = field(default_factory=SamplingParams)
    overflow: Overflow = "refuse"  # where the context is too short: or "trim", leave out the oldest

    def __post_init__(self) -> None:
        given = [x for x in (self.messages, self.prompt, self.token_ids) if x is not None]
        if len(given) != 1:
            raise UserError("A request needs exactly one of messages, prompt or token_ids.")
        if not given[0]:
            raise UserError("A request needs at least one message or token to go on from.")
        if self.overflow not in get_args(Overflow):
            known = " or ".join(get_args(Overflow))
            raise UserError(f"overflow is {self.overflow!r} but must be {known}.")


@dataclass(frozen=True, slots=True)
class TopLogprob:
    """One alternative at a position."""

    token_id: int | None  # None where the engine tells only the text
    text: str
    logprob: float  # natural logarithm


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One generated token, or a run of tokens where the engine reports only runs.

    ``text`` may be empty while a UTF-8 character or a possible stop string is still incomplete;
    the pieces of one answer, joined, are the answer.
    """

    text: str
    token_id: int | None = None
    logprob: float | None = None
    top: tuple[TopLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0  # of the prompt, taken from the prefix cache
    trimmed_messages: int = 0  # left out of the request so that it fits the context
    trimmed_tokens: int = 0  # what that was; not part of prompt_tokens


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds on the engine's own monotonic clock, counted from the request's arrival."""

    queued_s: float
    ttft_s: float  # until the first token
    total_s: float


@dataclass(frozen=True, slots=True)
class DoneEvent:
    """The last event of a request that was answered or cancelled."""

    finish_reason: FinishReason
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The last event of a request that failed."""

    error: AirustError


Event = TokenEvent | DoneEvent | ErrorEvent


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer: the fold of a request's events."""

    text: str
    tokens: tuple[TokenEvent, ...]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
