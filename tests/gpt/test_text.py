"""Text pieces: whole characters, and nothing that belongs to a stop string."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from airust.gpt.text import StopFilter, TextStream
from airust.gpt.tokenizer import Tokenizer, character_tokenizer, train_bpe

TEXTS = ("héllo 水水 😀 abc", "水", "é", "plain", " leading and trailing ", "\n\n", "👨‍👩‍👧 family")


@pytest.fixture(scope="module", params=["bpe", "characters"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "bpe":
        return train_bpe(["hello world"] * 3, 270)
    return character_tokenizer(["helo"])


def pieces(tokenizer: Tokenizer, ids: Sequence[int], stop: Sequence[str] = ()) -> list[str]:
    slow = TextStream(tokenizer.decode, stop)
    fast = TextStream(tokenizer.decode, stop, tokenizer.whole)
    found = [*(slow.push(i) for i in ids), slow.finish()]
    assert [*(fast.push(i) for i in ids), fast.finish()] == found
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_join_to_the_text(tokenizer: Tokenizer, text: str) -> None:
    found = pieces(tokenizer, tokenizer.encode(text))
    assert "".join(found) == text
    assert not any("\ufffd" in piece for piece in found)
    assert found[-1] == ""  # nothing certain waits for the end


def test_random_bytes_come_out_as_the_tokenizer_decodes_them() -> None:
    tokenizer = train_bpe(["hello world"] * 3, 270)
    rng = random.Random(0)
    for _ in range(50):
        ids = [rng.randrange(3, tokenizer.vocab_size) for _ in range(40)]
        assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


def test_garbage_has_as_many_marks_as_in_one_piece() -> None:
    """Decoders print one mark for bytes that begin a character, but only if they are together."""
    rng = random.Random(0)
    for _ in range(300):
        ids = rng.choices(b"\xe3\x81\x80\xf0\x9f\xa6A\xff\xc3\xed", k=40)
        stream = TextStream(lambda ids: bytes(ids).decode("utf-8", "replace"))
        text = "".join(map(stream.push, ids)) + stream.finish()
        assert text == bytes(ids).decode("utf-8", "replace")


def test_a_long_run_of_garbage_is_not_held_back(tokenizer: Tokenizer) -> None:
    garbage = tokenizer.encode("é")[:1] * 50  # first bytes only
    assert len("".join(pieces(tokenizer, garbage)[:-1])) >= 40


def test_a_real_replacement_character_survives(tokenizer: Tokenizer) -> None:
    assert "".join(pieces(tokenizer, tokenizer.encode("a\ufffdb\ufffd"))) == "a\ufffdb\ufffd"


def test_an_unfinished_character_is_marked_at_the_end(tokenizer: Tokenizer) -> None:
    *most, last = pieces(tokenizer, tokenizer.encode("ok水")[:-1])
    assert "".join(most) == "ok"
    assert set(last) == {"\ufffd"}


@pytest.mark.parametrize("stop", ["水", "bc", "c水a", "\n"])
def test_every_way_to_cut_the_text_stops_at_the_same_place(stop: str) -> None:
    text = "abc水abc\nxyz"
    for first in range(len(text)):
        for second in range(first, len(text)):
            found = StopFilter([stop, "never"])
            parts = [text[:first], text[first:second], text[second:]]
            shown = "".join([found.push(part) for part in parts]) + found.finish()
            assert shown == text[: text.index(stop)]
            assert found.stopped
            assert found.push("more") == ""


def test_the_earliest_of_several_stop_strings_wins() -> None:
    found = StopFilter(["cd", "b"])
    assert found.push("abcd") == "a"


def test_only_as_much_as_needed_is_held_back() -> None:
    found = StopFilter(["<|end|>"])
    assert found.push("a < b <|e") == "a < b "
    assert found.push("x") == "<|ex"
    assert found.push("<|") == ""
    assert found.finish() == "<|"
    assert not found.stopped
