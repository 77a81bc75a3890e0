"""What the base class derives from one primitive, on engines made of a few lines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import pytest

from airust.engines.base import Capabilities, Engine, EventCallback, Handle, take_options
from airust.engines.dummy import DummyEngine
from airust.types import (
    DoneEvent,
    EngineError,
    ErrorEvent,
    Message,
    Request,
    Timings,
    TokenEvent,
    TopLogprob,
    UnsupportedError,
    Usage,
    UserError,
)

HELLO = Request(messages=(Message("user", "hello there you"),))


class Counting(Engine):
    """Goes on from token n with n + 1, n + 2 ...; the next likeliest is n + 11."""

    name: ClassVar[str] = "counting"
    capabilities: ClassVar[Capabilities] = Capabilities(
        token_ids=True, logprobs=True, ignore_eos=True
    )
    requests: int = 0
    tokens: int = 0  # asked for
    refuses: Sequence[int] = ()  # last tokens that it cannot go on from
    with_ids = True

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        return cls()

    def submit(self, request: Request, on_event: EventCallback) -> Handle:
        self.check(request)
        self.requests += 1
        self.tokens += request.params.max_tokens
        last = (request.token_ids or (0,))[-1]
        if last in self.refuses:
            raise UnsupportedError("I cannot go on from this.")
        for token in range(last + 1, last + 1 + request.params.max_tokens):
            top = (TopLogprob(token, "", -0.1), TopLogprob(token + 10, "", -3.0))
            on_event(TokenEvent("x", token if self.with_ids else None, -0.1, top))
        usage = Usage(1, request.params.max_tokens)
        on_event(DoneEvent("length", usage, Timings(0, 0, 0)))
        return _Nothing()

    def close(self) -> None:
        pass


class _Nothing:
    def cancel(self) -> None:
        pass


def scores(engine: Engine, continuation: Sequence[int]) -> list[float | None]:
    found = engine.score([4, 5], continuation, top_k=2)
    return [None if score is None else score.logprob for score in found]


def test_score_of_what_it_would_say_takes_one_request() -> None:
    engine = Counting()
    assert scores(engine, [6, 7, 8]) == [-0.1, -0.1, -0.1]
    assert engine.requests == 1


def test_score_starts_anew_behind_a_divergence() -> None:
    engine = Counting()
    assert scores(engine, [6, 17, 18, 3, 4]) == [-0.1, -3.0, -0.1, None, -0.1]
    assert engine.requests == 4


def test_score_of_what_it_would_never_say_takes_a_token_a_place() -> None:
    engine = Counting()
    scores(engine, [90 - 7 * place for place in range(10)])
    assert engine.requests == 10
    assert engine.tokens == 10 + 9  # at first it is asked for all


def test_score_skips_what_it_cannot_go_on_from() -> None:
    engine = Counting()
    engine.refuses = (17, 28)
    assert scores(engine, [6, 17, 28, 29]) == [-0.1, -3.0, None, None]
    engine.refuses = (5,)  # not even the prompt
    with pytest.raises(UnsupportedError):
        engine.score([4, 5], [6])


def test_score_needs_logprobs() -> None:
    with DummyEngine() as engine, pytest.raises(UnsupportedError, match="no logprobs"):
        engine.score([1], [2])


def test_greedy_needs_an_id_for_every_token() -> None:
    engine = Counting()
    assert [t.token_id for t in engine.greedy([5], 3)] == [6, 7, 8]
    engine.with_ids = False
    with pytest.raises(EngineError, match="every token"):
        engine.greedy([5], 3)


class Failing(Counting):
    def submit(self, request: Request, on_event: EventCallback) -> Handle:
        on_event(TokenEvent("half "))
        on_event(ErrorEvent(EngineError("out of memory")))
        return _Nothing()


def test_an_error_event_is_raised() -> None:
    with pytest.raises(EngineError, match="out of memory"):
        Failing().generate(HELLO)

    async def stream() -> None:
        async for _ in Failing().astream(HELLO):
            pass

    with pytest.raises(EngineError, match="out of memory"):
        asyncio.run(stream())


def test_leaving_astream_cancels() -> None:
    async def first() -> str:
        events = engine.astream(HELLO)
        async for event in events:
            assert isinstance(event, TokenEvent)
            await events.aclose()
            return event.text
        raise AssertionError

    with DummyEngine(delay_s=0.01) as engine:
        assert asyncio.run(first()) == "hello"
        assert engine.generate(HELLO).text == "hello there you"


def test_options() -> None:
    assert take_options("x", {"a": 1}, {"a": 0, "b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(UserError, match="no option 'c'; it knows: a, b"):
        take_options("x", {"c": 1}, {"b": 0, "a": 0})
    with pytest.raises(UserError, match="it knows: none"):
        take_options("x", {"c": 1}, {})
