"""The next token of every row of a step, each by its own request's parameters.

The rules are those of ``airust.gpt.sampling``; here rows that share parameters share the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from airust.engines.constraint import Constraint
from airust.gpt.sampling import (
    Adjustments,
    Dice,
    draw,
    keep_allowed,
    probabilities,
    top_logprobs,
)
from airust.types import EngineError, SamplingParams

POISONED = "The model's output is not a number; are its weights damaged?"
SHAPING = ("temperature", "top_k", "top_p", "min_p")


class Chooser:
    """The state of one request's sampling: its random numbers, its tokens, its grammar.

    Raises:
        UserError: logit_bias names a token outside the vocabulary.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt: Sequence[int],
        vocab_size: int,
        constraint: Constraint | None = None,
    ) -> None:
        self.params, self.constraint = params, constraint
        self.dice = Dice(params.seed) if params.temperature else None
        adjust = Adjustments(params, prompt, vocab_size)
        self.adjust = adjust if adjust.needed else None
        # Rows whose distributions are made in the same way can be made together.
        shaping: dict[str, Any] = {name: getattr(params, name) for name in SHAPING}
        self.group = SamplingParams(**shaping)

    @property
    def complete(self) -> bool:
        """The text is all that the grammar wants."""
        return self.constraint is not None and self.constraint.complete

    def note(self, token: int) -> None:
        """The token is now part of the text."""
        if self.adjust is not None:
            self.adjust.note(token)
        if self.constraint is not None:
            self.constraint.note(token)

    def shape(self, logits: Tensor) -> Tensor:
        """Steps 1 to 4 of ``airust.gpt.sampling``: (V) -> (V).

        Raises:
            EngineError: the grammar has no next token.
        """
        if self.adjust is not None:
            logits = self.adjust(logits)
        if self.constraint is not None:
            logits = keep_allowed(logits, self.constraint.allowed())
        return logits


class Choice(NamedTuple):
    """One chosen token."""

    token: int
    logprob: float | None  # of the model itself, before anything that changes its logits
    top: tuple[tuple[int, float], ...]


def choose_rows(logits: Tensor, choosers: Sequence[Chooser]) -> list[Choice | EngineError]:
    """One token for each row of logits (R, V), or why there is none.

    The logits are changed in place. Rows pay for nothing that only other rows ask for.
    """
    raw = {i: logits[i].clone() for i, c in enumerate(choosers) if c.params.logprobs is not None}
    errors: dict[int, EngineError] = {}
    for i, chooser in enumerate(choosers):
        if chooser.adjust is not None or chooser.constraint is not None:
            try:
                logits[i] = chooser.shape(logits[i])
            except EngineError as error:
                errors[i] = error
    values = logits.numpy()
    likeliest = values.argmax(-1)  # ten times as fast as torch's; NaN counts as largest
    tokens: list[int] = likeliest.tolist()
    finite: list[bool] = np.isfinite(values[np.arange(len(tokens)), likeliest]).tolist()
    for params, rows in _groups(choosers, finite).items():
        luck = torch.tensor([dice.roll() for _, dice in rows], dtype=torch.float64)
        index = [i for i, _ in rows]
        drawn = draw(probabilities(logits[index], params), luck)
        for i, token in zip(index, drawn.tolist(), strict=True):
            tokens[i] = token
    errors = {i: EngineError(POISONED) for i, good in enumerate(finite) if not good} | errors
    return [
        errors.get(i) or _choice(tokens[i], raw.get(i), c.params.logprobs)
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
