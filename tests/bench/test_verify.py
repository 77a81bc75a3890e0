"""Right, tied and wrong answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airust.bench.verify import Check, Reference, check_answer, count_checks
from airust.bench.workload import Prompt
from airust.gpt.tokenizer import Tokenizer

PROMPT = Prompt("a question", (1, 2, 3))
TEXT = "The capital 首都 of France is"


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> Tokenizer:
    return Tokenizer.load(model_dir)


@pytest.fixture(scope="module")
def expected(tokenizer: Tokenizer) -> tuple[int, ...]:
    return tuple(tokenizer.encode(TEXT))


def _check(
    tokenizer: Tokenizer,
    expected: tuple[int, ...],
    margins: dict[int, float] | None = None,
    **changes: Any,
) -> Check:
    """Check an answer that is right but for the changes; margins are 1 but for those given."""
    answer = {
        "error": None,
        "wanted_tokens": len(expected),
        "prompt_tokens": 3,
        "cached_tokens": 0,
        "tokens": len(expected),
        "token_ids": list(expected),
        "text": tokenizer.decode(expected),
    }
    given = tuple((margins or {}).get(i, 1.0) for i in range(len(expected)))
    reference = Reference(expected, given)
    return check_answer(answer | changes, PROMPT, reference, tokenizer, tolerance=2e-3)


def test_the_same_tokens_are_exact(tokenizer: Tokenizer, expected: tuple[int, ...]) -> None:
    assert _check(tokenizer, expected).status == "exact"


@pytest.mark.parametrize("text", [TEXT, TEXT + "\ufffd", TEXT + "<|im_end|>", " " + TEXT])
def test_without_ids_the_text_decides(
    tokenizer: Tokenizer, expected: tuple[int, ...], text: str
) -> None:
    """Half a character, a control token, a space in front: some engines show them, some do not."""
    ids = [None] * len(expected)
    assert _check(tokenizer, expected, token_ids=ids, text=text).status == "exact"
    assert _check(tokenizer, expected, token_ids=[], text=text).status == "exact"


def test_another_token_is_wrong_unless_the_reference_was_undecided(
    tokenizer: Tokenizer, expected: tuple[int, ...]
) -> None:
    ids = [*expected[:5], 99, *expected[6:]]
    found = _check(tokenizer, expected, token_ids=ids)
    assert found == Check("wrong", "it left the reference at token 5, margin 1.0e+00")
    assert _check(tokenizer, expected, {5: 1e-4}, token_ids=ids).status == "tied"
    assert _check(tokenizer, expected, {2: 1e-4}, token_ids=ids).status == "wrong"


def test_another_text_is_wrong_unless_the_reference_was_undecided(
    tokenizer: Tokenizer, expected: tuple[int, ...]
) -> None:
    changes: dict[str, Any] = {"token_ids": [], "text": tokenizer.decode(expected[:2]) + "XX"}
    assert _check(tokenizer, expected, **changes).status == "wrong"
    assert _check(tokenizer, expected, {2: 1e-4}, **changes).status == "tied"
    assert _check(tokenizer, expected, {8: 1e-4}, **changes).status == "wrong"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"error": "out of memory"}, "failed: out of memory"),
        ({"tokens": 3}, "it gave 3 tokens"),
        ({"prompt_tokens": 4}, "counted 4 prompt tokens, not 3"),
        ({"cached_tokens": 40}, "40 prompt tokens came from a prefix cache"),
        ({"token_ids": [5]}, "left the reference at token 0"),
        ({"token_ids": [], "text": ""}, "left the reference at token 0"),
    ],
)
def test_what_else_is_wrong(
    tokenizer: Tokenizer, expected: tuple[int, ...], changes: dict[str, Any], detail: str
) -> None:
    found = _check(tokenizer, expected, **changes)
    assert found.status == "wrong"
    assert detail in found.detail


def test_an_engine_that_stops_early_and_claims_otherwise_is_caught(
    tokenizer: Tokenizer, expected: tuple[int, ...]
) -> None:
    short = tokenizer.decode(expected[:4])
    assert _check(tokenizer, expected, token_ids=[], text=short).status == "wrong"
    assert _check(tokenizer, expected, token_ids=list(expected[:4])).status == "wrong"


def test_counting() -> None:
    checks = [Check("exact"), Check("tied"), Check("wrong", "first"), Check("wrong", "second")]
    assert count_checks(checks) == {"exact": 1, "tied": 1, "wrong": 2, "first_wrong": "first"}
