"""Requests to token ids, and the room that is left in the context."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.engines.text import checked_ids, fit_prompt, new_token_limit, prompt_ids
from airust.gpt.tokenizer import Tokenizer
from airust.types import (
    ContextOverflowError,
    Message,
    Request,
    Role,
    SamplingParams,
    Usage,
    UserError,
)


def test_prompt_ids_of_each_kind(model_dir: Path) -> None:
    tokenizer = Tokenizer.load(model_dir)
    messages = (Message("user", "hi"),)
    assert prompt_ids(Request(messages=messages), tokenizer) == tokenizer.encode_chat(messages)
    assert prompt_ids(Request(prompt="hi"), tokenizer) == tokenizer.encode("hi")
    assert prompt_ids(Request(token_ids=(5, 6)), tokenizer) == [5, 6]


@pytest.mark.parametrize("token_id", [-1, 400, 10**9])
def test_ids_outside_the_vocabulary_are_refused(model_dir: Path, token_id: int) -> None:
    with pytest.raises(UserError, match="outside the vocabulary"):
        prompt_ids(Request(token_ids=(5, token_id)), Tokenizer.load(model_dir))


def test_new_token_limit() -> None:
    assert new_token_limit(10, SamplingParams(max_tokens=5), context=16) == 5
    assert new_token_limit(15, SamplingParams(max_tokens=5), context=16) == 1
    with pytest.raises(ContextOverflowError, match="16"):
        new_token_limit(16, SamplingParams(max_tokens=5), context=16)


def test_checked_ids() -> None:
    assert checked_ids((0, 4), 5) == [0, 4]
    for wrong in (-1, 5):
        with pytest.raises(UserError, match=f"Token id {wrong} is outside the vocabulary of 5"):
            checked_ids([0, wrong], 5)


# Trimming. A message of n words has n + 1 tokens here, and an answer begins with one.


def ids(request: Request) -> list[int]:
    if request.messages is None:
        return list(request.token_ids or map(len, (request.prompt or "").split()))
    return [7] * sum(len(m.content.split()) + 1 for m in request.messages) + [1]


def talk(*turns: str, max_tokens: int = 10, trim: bool = True) -> Request:
    """Messages, each with its role's first letter and how many words it has: "u5"."""
    roles: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}
    messages = tuple(Message(roles[t[0]], f"{t} " * int(t[1:])) for t in turns)
    params = SamplingParams(max_tokens=max_tokens)
    return Request(messages=messages, params=params, overflow="trim" if trim else "refuse")


def kept(request: Request) -> list[str]:
    return [m.content.split()[0] for m in request.messages or ()]


def test_what_fits_is_left_alone() -> None:
    for request in (talk("u5"), talk("s9", "u9", "a9", "u9"), talk("u9", trim=False)):
        prompt = fit_prompt(request, ids, context=60)
        assert prompt.request is request
        assert prompt.ids == ids(request)
        assert (prompt.trimmed_messages, prompt.trimmed_tokens) == (0, 0)
        assert prompt.limit == 10


@pytest.mark.parametrize(
    ("turns", "left"),
    [
        (("u20", "a20", "u20", "a9", "u9"), ["u20", "a9", "u9"]),
        (("u5", "a5", "u6", "a29", "u9"), ["u9"]),  # no question without its answer
        (("s5", "u20", "a20", "u9"), ["s5", "u9"]),
        (("u20", "s5", "a20", "u9", "a3", "u8"), ["s5", "u9", "a3", "u8"]),
        (("a20", "u9", "a9", "u9"), ["u9", "a9", "u9"]),  # the answer to what was not said
        (("u20", "u20", "u9"), ["u20", "u9"]),
        (("u20", "a20", "u9", "a9"), ["u9", "a9"]),  # an answer to be continued
        (("a20", "a20", "a9"), ["a9"]),
        (("u30", "a9", "u39"), ["u39"]),  # its answer gets less room than it asked for
    ],
)
def test_old_turns_are_left_out_as_a_whole(turns: tuple[str, ...], left: list[str]) -> None:
    request = talk(*turns)
    prompt = fit_prompt(request, ids, context=55)
    assert kept(prompt.request) == left
    assert prompt.ids == ids(prompt.request)
    assert prompt.trimmed_messages == len(turns) - len(left)
    assert prompt.trimmed_tokens == len(ids(request)) - len(prompt.ids)
    assert 1 <= prompt.limit <= 10
    usage = prompt.usage(3, cached_tokens=2)
    assert usage == Usage(len(prompt.ids), 3, 2, prompt.trimmed_messages, prompt.trimmed_tokens)


def test_no_more_is_left_out_than_must_be() -> None:
    turns = [turn for i in range(40) for turn in ("u2", f"a{i % 5 + 1}")] + ["u2"]
    for context in range(10, 90):
        prompt = fit_prompt(talk(*turns, max_tokens=5), ids, context)
        room = min(5, context // 3)
        assert len(prompt.ids) + room <= context
        first = len(turns) - len(kept(prompt.request))
        longer = talk(*turns[first - 2 :])
        assert len(ids(longer)) + room > context


def test_room_for_an_answer_is_a_third_of_the_context_at_most() -> None:
    request = talk("u20", "a9", "u9", max_tokens=1000)
    assert kept(fit_prompt(request, ids, context=65).request) == ["u20", "a9", "u9"]
    prompt = fit_prompt(request, ids, context=60)
    assert kept(prompt.request) == ["u9"]
    assert prompt.limit == 60 - len(prompt.ids)


def test_the_last_question_and_the_system_message_must_fit() -> None:
    for request in (talk("u60"), talk("u5", "a5", "u60"), talk("s50", "u5", "a5", "u9")):
        with pytest.raises(ContextOverflowError, match="context holds 60; shorten it"):
            fit_prompt(request, ids, context=60)


def test_without_the_wish_nothing_is_left_out() -> None:
    with pytest.raises(ContextOverflowError, match="context holds 60"):
        fit_prompt(talk("u50", "a50", "u9", trim=False), ids, context=60)


def test_of_text_and_ids_the_oldest_tokens_are_left_out() -> None:
    params = SamplingParams(max_tokens=10)
    for request in (
        Request(token_ids=tuple(range(100)), params=params, overflow="trim"),
        Request(prompt=" ".join("x" * i for i in range(1, 101)), params=params, overflow="trim"),
    ):
        prompt = fit_prompt(request, ids, context=40)
        assert prompt.ids == ids(request)[-30:]
        assert prompt.request.token_ids == tuple(prompt.ids)
        assert (prompt.limit, prompt.trimmed_messages, prompt.trimmed_tokens) == (10, 0, 70)


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(UserError, match="no tokens"):
        fit_prompt(Request(prompt="   "), ids, context=40)
