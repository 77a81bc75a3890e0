"""What clients ask: exact lengths, recorded, the same again from the same seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airust.bench.serve_traffic import TrafficSpec, from_json, make_sessions, sha256, to_json
from airust.gpt.tokenizer import Tokenizer
from airust.types import UserError


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> Tokenizer:
    return Tokenizer.load(model_dir)


def test_questions_have_exactly_the_wanted_length_and_begin_differently(
    tokenizer: Tokenizer,
) -> None:
    sessions = make_sessions(TrafficSpec(prompt_tokens=40), 12, tokenizer, 256)
    assert [len(turn.token_ids or ()) for (turn,) in sessions] == [40] * 12
    assert len({turn.messages[0].content[:20] for (turn,) in sessions}) == 12
    for (turn,) in sessions:
        assert tuple(tokenizer.encode_chat(turn.messages)) == turn.token_ids


def test_a_seed_gives_the_same_sessions_and_another_one_others(tokenizer: Tokenizer) -> None:
    spec = TrafficSpec(prompt_tokens=40, seed=3)
    first, again = (make_sessions(spec, 4, tokenizer, 256) for _ in range(2))
    assert sha256(first) == sha256(again)
    other = make_sessions(TrafficSpec(prompt_tokens=40, seed=4), 4, tokenizer, 256)
    assert sha256(first) != sha256(other)
    assert from_json(json.loads(json.dumps(to_json(first)))) == first


def test_a_shared_beginning_is_shared_by_a_quarter(tokenizer: Tokenizer) -> None:
    spec = TrafficSpec("prefix", prompt_tokens=32, prefix_tokens=64)
    sessions = make_sessions(spec, 8, tokenizer, 256)
    systems = [turn.messages[0].content for (turn,) in sessions]
    assert len(set(systems)) == 4 and systems[:4] == systems[4:]
    assert len({turn.messages[1].content for (turn,) in sessions}) == 8


def test_a_chat_repeats_what_was_said_before(tokenizer: Tokenizer) -> None:
    spec = TrafficSpec("chat", new_tokens=8, turns=3)
    for session in make_sessions(spec, 4, tokenizer, 4096):
        assert [len(turn.messages) for turn in session] == [1, 3, 5]
        assert session[1].messages[:1] == session[0].messages
        assert [m.role for m in session[2].messages] == ["user", "assistant"] * 2 + ["user"]


def test_a_chat_ends_where_the_context_does(tokenizer: Tokenizer) -> None:
    sessions = make_sessions(TrafficSpec("chat", new_tokens=8, turns=6), 4, tokenizer, 256)
    for session in sessions:
        assert all(len(turn.token_ids or ()) + 8 <= 256 for turn in session)
    assert min(map(len, sessions)) < 6


def test_without_a_tokenizer_characters_count(tokenizer: Tokenizer) -> None:
    (turn,) = make_sessions(TrafficSpec(prompt_tokens=50), 1, None, None)[0]
    assert turn.token_ids is None and 180 <= len(turn.messages[0].content) <= 200


@pytest.mark.parametrize(
    ("changes", "context", "message"),
    [
        ({"kind": "noise"}, 256, "traffic is 'noise' but must be one of: fixed, prefix, chat"),
        ({"prompt_tokens": 4}, 256, "prompt_tokens is 4 but must be at least 16"),
        ({"prompt_tokens": 250}, 256, "do not fit into a context of 256"),
        ({"kind": "chat", "new_tokens": 250}, 256, "Not even one turn of a chat fits"),
    ],
)
def test_what_cannot_be_is_the_users_mistake(
    tokenizer: Tokenizer, changes: dict[str, object], context: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_sessions(TrafficSpec(**changes), 2, tokenizer, context)  # type: ignore[arg-type]
