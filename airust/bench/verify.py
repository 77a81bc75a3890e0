"""Was the output of a timed run right? Broken output is never a fast result.

The reference is torch in float32, greedy, on the same prompts. An answer is

* ``exact``: the same tokens (the same text, where an engine tells no token ids);
* ``tied``: it leaves the reference where the reference's two likeliest tokens are closer than the
  engine's known error, which rounding may decide either way;
* ``unverified``: nothing to compare it with (``serve_bench``);
* ``failed``: there was none; under load that may happen (``serve_bench``);
* ``wrong``: anything else, also a token count that does not hold, a prompt counted otherwise, or
  a prompt served from a prefix cache.

One wrong answer and the launch gives no figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airust.bench.workload import HEADER_TOKENS, Prompt

if TYPE_CHECKING:
    from airust.gpt.tokenizer import Tokenizer

Status = Literal["exact", "tied", "wrong", "unverified", "failed"]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
NO_TIE = float("inf")


@dataclass(frozen=True, slots=True)
class Reference:
    """What greedy decoding gives for one prompt."""

    token_ids: tuple[int, ...]
    margins: tuple[float, ...]  # logprob of the likeliest token minus that of the second


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome for one answer."""

    status: Status
    detail: str = ""


def check_answer(
    answer: dict[str, Any],
    prompt: Prompt,
    reference: Reference,
    tokenizer: Tokenizer,
    tolerance: float,
    shared: bool = False,
) -> Check:
    """Compare one answer (``measure.Answer`` as a dict) with the reference.

    Args:
        shared: the prompts share beginnings, so that a prefix cache may have served them.
    """
    wanted, counted = answer["wanted_tokens"], answer["prompt_tokens"]
    if answer["error"]:
        return Check("wrong", f"it failed: {answer['error']}")
    if counted != len(prompt.token_ids):
        return Check("wrong", f"it counted {counted} prompt tokens, not {len(prompt.token_ids)}")
    if answer["cached_tokens"] > HEADER_TOKENS and not shared:
        return Check("wrong", f"{answer['cached_tokens']} prompt tokens came from a prefix cache")
    if answer["tokens"] != wanted:
        return Check("wrong", f"it gave {answer['tokens']} tokens where {wanted} were asked for")
    ids = answer["token_ids"]
    if None not in ids and ids:
        position = _first_difference(ids, reference.token_ids[:wanted])
    else:
        position = _text_difference(answer["text"], reference.token_ids[:wanted], tokenizer)
    if position is None:
        return Check("exact")
    margin = min(reference.margins[position : position + 2], default=NO_TIE)
    if margin <= tolerance:
        return Check("tied", f"token {position}, margin {margin:.1e}")
    return Check("wrong", f"it left the reference at token {position}, margin {margin:.1e}")


def _first_difference(ids: Sequence[int], expected: Sequence[int]) -> int | None:
    if list(ids) == list(expected):
        return None
    same = (a == b for a, b in zip(ids, expected, strict=False))
    return next((i for i, equal in enumerate(same) if not equal), min(len(ids), len(expected)))


def _text_difference(text: str, expected: Sequence[int], tokenizer: Tokenizer) -> int | None:
    """The first token of the reference that the text does not hold; None if it holds all."""
    found = _plain(text)
    if found == _plain(tokenizer.decode(expected)):
        return None
    matching = (
        count
        for count in range(len(expected), 0, -1)
        if found.startswith(_plain(tokenizer.decode(expected[:count])))
    )
    return min(next(matching, 0), len(expected) - 1)


def _plain(text: str) -> str:
    """Without what engines show or leave out at will: control tokens, halves of characters, and
    whitespace in front."""
    for token in SPECIAL:
        text = text.replace(token, "")
    return text.replace("\ufffd", "").lstrip()


def count_checks(checks: Iterable[Check]) -> dict[str, Any]:
    """How many answers were exact, tied, wrong, and what the first wrong one was."""
    found = list(checks)
    counts = Counter(check.status for check in found)
    first_wrong = next((check.detail for check in found if check.status == "wrong"), None)
    statuses: tuple[Status, ...] = ("exact", "tied", "wrong")
    return {status: counts[status] for status in statuses} | {"first_wrong": first_wrong}
