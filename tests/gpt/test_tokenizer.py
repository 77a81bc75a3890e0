"""Tokenizers drop nothing, and the chat form is that of the template other programs use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from airust.gpt.tokenizer import (
    SPECIAL_TOKENS,
    Tokenizer,
    character_tokenizer,
    train_bpe,
)
from airust.types import Message, UserError

TEXTS = ["To be, or not to be, that is the question.", "水为什么往低处流？ 因为重力。"]
MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "bpe": lambda: train_bpe(TEXTS, 300),
    "character": lambda: character_tokenizer(TEXTS),
}


@pytest.fixture(scope="module", params=sorted(MAKERS))
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return MAKERS[request.param]()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "to be",
        "  two  spaces\tand a tab\r\n\n",
        "never seen: Ωmega, Кириллица, עברית, 👩‍🚀, \x00\x7f",
        "水在高处。",
        "<0x41> and <|im_end|> spelled out",
        "x" * 1000,
        "é, e\u0301",
    ],
)
def test_no_text_is_ever_dropped(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_special_token_in_ordinary_text_stays_text(tokenizer: Tokenizer) -> None:
    special = {tokenizer.end_of_text, tokenizer.turn_start, tokenizer.turn_end}
    for token in SPECIAL_TOKENS:
        assert not special & set(tokenizer.encode(f"a{token}b"))


def test_half_a_surrogate_pair_is_the_users_mistake(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="surrogate"):
        tokenizer.encode("broken: \ud800")


def test_the_chat_form_is_the_templates(tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    turns = [("user", "To be?"), ("assistant", "不。"), ("user", " or not\n")]
    messages = [{"role": role, "content": content} for role, content in turns]
    expected = theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert tokenizer.encode_chat([Message(role, content) for role, content in turns]) == expected  # type: ignore[arg-type]


def test_saving_and_loading_changes_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.vocab_size == tokenizer.vocab_size
    assert all(again.encode(text) == tokenizer.encode(text) for text in TEXTS)


def test_characters_are_looked_up_as_the_library_would(tokenizer: Tokenizer) -> None:
    for text in ("To be? 水 is Ω, <0x41>, <|im_end|>.", "\u0000", "👩‍🚀"):
        assert tokenizer.encode(text) == tokenizer.backend.encode(text).ids


def test_a_long_text_takes_no_quadratic_time() -> None:
    tokenizer = MAKERS["character"]()
    assert len(tokenizer.encode("to be" * 400_000)) == 2_000_000


def test_more_training_text_makes_shorter_encodings() -> None:
    trained, bytes_only = train_bpe(TEXTS * 5, 320), train_bpe(["x"], 259)
    assert len(trained.encode(TEXTS[0])) < len(bytes_only.encode(TEXTS[0]))


def test_a_vocabulary_without_room_for_bytes_is_refused() -> None:
    with pytest.raises(UserError, match="vocab_size is 100 but must be at least 259"):
        train_bpe(TEXTS, 100)


def test_a_tokenizer_without_the_chat_tokens_has_no_chat_form(tmp_path: Path) -> None:
    MAKERS["bpe"]().save(tmp_path)
    path = tmp_path / "tokenizer.json"
    settings = json.loads(path.read_text("utf-8"))
    settings["added_tokens"] = []
    path.write_text(json.dumps(settings).replace("<|im_end|>", "<|eot|>"), "utf-8")
    foreign = Tokenizer.load(tmp_path)
    assert not foreign.has_chat_form
    assert foreign.decode(foreign.encode("to be")) == "to be"
    assert foreign.eos_ids == (foreign.end_of_text,)
    with pytest.raises(UserError, match=r"<\|im_end\|>"):
        foreign.encode_chat([Message("user", "hi")])
