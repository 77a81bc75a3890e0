"""What one forward pass computes: which tokens of which sequences, and who looks at what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from airust.engines.torch.slots import SlotCache


class Work(NamedTuple):
    """New tokens of one sequence: one while decoding, a chunk of the prompt before."""

    slot: int
    start: int  # position of the first of them
    tokens: Sequence[int]
    wanted: bool  # whether the logits after the last of them are needed


@dataclass(frozen=True, slots=True)
class Piece:
    """Several tokens of one sequence that attend together."""

    first: int  # the first of its rows in the step
    slot: int
    start: int  # position of its first token
    tokens: int  # T


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass over N tokens, the rows of all its matrices.

    The first ``singles`` rows are sequences with one new token each, the others belong to pieces.
    """

    tokens: Tensor  # (N) token ids
    angles: Tensor  # (N) of each token's position, the row in the rotary table
    slots: Tensor  # (N)
    positions: Tensor  # (N) of each token in its own sequence
    singles: int
    longest: int  # positions that the longest of the singles looks at
    pieces: tuple[Piece, ...] = ()
    outputs: Tensor | None = None  # the rows that need logits; None is all

    @property
    def decodes(self) -> bool:
        """Every row is the one new token of a sequence, and its logits are needed."""
        return self.singles == len(self.tokens) and self.outputs is None

    def to(self, device: torch.device) -> Step:
        """The same step with its tensors on a device."""
        if self.tokens.device == device:
            return self
        names = ("tokens", "angles", "slots", "positions")
        moved = {name: getattr(self, name).to(device) for name in names}
        outputs = None if self.outputs is None else self.outputs.to(device)
        return replace(self, outputs=outputs, **moved)


def plan(works: Sequence[Work], cache: SlotCache) -> tuple[Step, list[int]]:
    """One step for all works, and whose logits it gives: indices into ``works``, row by row."""
    if all(len(work.tokens) == 1 and work.wanted for work in works):
        starts = [work.start for work in works]
        table = [w.tokens[0] for w in works], starts, [w.slot for w in works]
        columns = np.array(table, dtype=np.int64)
        return _step(columns, cache, len(works), max(starts) + 1), list(range(len(works)))
    order = sorted(range(len(works)), key=lambda i: len(works[i].tokens) > 1)
    rows: list[tuple[int, int, int]] = []
    pieces: list[Piece] = []
    asked: list[tuple[int, int]] = []  # a work and its last row
    longest = singles = 0
    for i in order:
        slot, start, new, wanted = works[i]
        if len(new) > 1:
            pieces.append(Piece(len(rows), slot, start, len(new)))
        else:
            longest, singles = max(longest, start + 1), singles + 1
        rows.extend((token, start + n, slot) for n, token in enumerate(new))
        if wanted:
            asked.append((i, len(rows) - 1))
    columns = np.ascontiguousarray(np.array(rows, dtype=np.int64).T)
    outputs = None
    if len(asked) < len(rows):
        outputs = torch.tensor([row for _, row in asked], dtype=torch.long)
    step = _step(columns, cache, singles, longest, tuple(pieces), outputs)
    return step, [i for i, _ in asked]


def _step(
    columns: np.ndarray,
    cache: SlotCache,
    singles: int,
    longest: int,
    pieces: tuple[Piece, ...] = (),
    outputs: Tensor | None = None,
) -> Step:
    tokens, positions, slots = torch.from_numpy(columns).unbind(0)
    angles = positions
    if cache.rotary_starts:
        starts = [cache.rotary_starts.get(slot, 0) for slot in columns[2].tolist()]
        angles = positions + torch.tensor(starts)
    return Step(tokens, angles, slots, positions, singles, longest, pieces, outputs)
