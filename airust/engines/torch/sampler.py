"""The next token of every row of a step, each by its own request's parameters.

The rules are those of ``airust.gpt.sampling``; here rows that share parameters share the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from airust.gpt.sampling import Dice, draw, penalise_repetition, probabilities, top_logprobs
from airust.types import SamplingParams

SHAPING = ("temperature", "top_k", "top_p", "min_p")


class Chooser:
    """The state of one request's sampling: its random numbers and the tokens it has seen."""

    def __init__(self, params: SamplingParams, prompt: Sequence[int], vocab_size: int) -> None:
        self.params = params
        self.dice = Dice(params.seed) if params.temperature else None
        self.seen: Tensor | None = None
        if params.repetition_penalty != 1:
            self.seen = torch.zeros(vocab_size, dtype=torch.bool)
            self.seen[list(prompt)] = True
        # Rows whose distributions are made in the same way can be made together.
        shaping: dict[str, Any] = {name: getattr(params, name) for name in SHAPING}
        self.group = SamplingParams(**shaping)

    def note(self, token: int) -> None:
        """The token is now part of the text."""
        if self.seen is not None:
            self.seen[token] = True


class Choice(NamedTuple):
    """One chosen token."""

    token: int
    logprob: float | None  # of the model itself, before penalty, temperature and filters
    top: tuple[tuple[int, float], ...]


def choose_rows(logits: Tensor, choosers: Sequence[Chooser]) -> list[Choice | None]:
    """One token for each row of logits (R, V); None for a row that is not finite.

    The logits are changed in place.
    """
    raw = {i: logits[i].clone() for i, c in enumerate(choosers) if c.params.logprobs is not None}
    for i, chooser in enumerate(choosers):
        if chooser.seen is not None:
            penalty = chooser.params.repetition_penalty
            logits[i] = penalise_repetition(logits[i], chooser.seen, penalty)
    largest, likeliest = logits.max(-1)
    tokens: list[int] = likeliest.tolist()
    finite: list[bool] = largest.isfinite().tolist()
    for params, rows in _groups(choosers, finite).items():
        luck = torch.tensor([dice.roll() for _, dice in rows], dtype=torch.float64)
        index = [i for i, _ in rows]
        drawn = draw(probabilities(logits[index], params), luck)
        for i, token in zip(index, drawn.tolist(), strict=True):
            tokens[i] = token
    return [
        _choice(tokens[i], raw.get(i), c.params.logprobs) if finite[i] else None
        for i, c in enumerate(choosers)
    ]


def _groups(
    choosers: Sequence[Chooser], finite: list[bool]
) -> dict[SamplingParams, list[tuple[int, Dice]]]:
    """Rows that need a draw, by the parameters that shape their distribution."""
    groups: dict[SamplingParams, list[tuple[int, Dice]]] = {}
    for i, chooser in enumerate(choosers):
        if chooser.dice is not None and finite[i]:
            groups.setdefault(chooser.group, []).append((i, chooser.dice))
    return groups


def _choice(token: int, raw: Tensor | None, k: int | None) -> Choice:
    if raw is None:
        return Choice(token, None, ())
    return Choice(token, float(raw.log_softmax(-1)[token]), top_logprobs(raw, k or 0))
