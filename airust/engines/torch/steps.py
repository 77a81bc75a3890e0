"""What one forward pass computes: which tokens of which sequences, and who looks at what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
class Segment:
    """Rows of a step that attend together: n slots side by side, T new tokens each."""

    first: int  # the first of its n * T rows in the step
    slots: slice  # n neighbouring slots
    tokens: int  # T
    length: int  # S: positions to look at, the new ones included
    mask: Tensor | None  # added to the scores, (n, 1, 1, S) or (T, S); None is causal


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass over N tokens, the rows of all its matrices."""

    tokens: Tensor  # (N) token ids
    angles: Tensor  # (N) of each token's position, the row in the rotary table
    places: Tensor  # (N, 2 K) the cache rows where its keys and values go
    segments: tuple[Segment, ...]
    outputs: Tensor | None = None  # the rows that need logits; None is all


def plan(works: Sequence[Work], cache: SlotCache) -> tuple[Step, list[int]]:
    """One step for all works, and whose logits it gives: indices into ``works``, row by row.

    Single tokens come first, ordered by slot, so that neighbouring slots share one attention.
    """
    order = sorted(range(len(works)), key=lambda i: (len(works[i].tokens) > 1, works[i].slot))
    columns: tuple[list[int], list[int], list[int]] = ([], [], [])
    asked: list[tuple[int, int]] = []  # a work and its last row
    for i in order:
        slot, start, new, wanted = works[i]
        columns[0].extend(new)
        columns[1].extend(range(start, start + len(new)))
        columns[2].extend([slot] * len(new))
        if wanted:
            asked.append((i, len(columns[0]) - 1))
    tokens, positions, slots = torch.tensor(columns).unbind(0)
    outputs = None
    if len(asked) < len(tokens):
        outputs = torch.tensor([row for _, row in asked], dtype=torch.long)
    segments = tuple(_segments([works[i] for i in order]))
    places = cache.places(slots, positions)
    angles = positions
    if cache.rotary_starts:
        angles = positions + torch.tensor([cache.rotary_starts.get(s, 0) for s in columns[2]])
    return Step(tokens, angles, places, segments, outputs), [i for i, _ in asked]


def _segments(works: list[Work]) -> Iterator[Segment]:
    """Runs of neighbouring single tokens, then every longer piece by itself."""
    row = at = 0
    while at < len(works):
        slot, start, new, _ = works[at]
        if len(new) > 1:
            total = start + len(new)
            mask = _chunk_mask(len(new), total) if start else None
            yield Segment(row, slice(slot, slot + 1), len(new), total, mask)
            at, row = at + 1, row + len(new)
            continue
        end = at + 1
        while end < len(works) and _continues(works[end - 1], works[end]):
            end += 1
        lengths = [work.start + 1 for work in works[at:end]]
        mask = _ragged_mask(lengths) if min(lengths) < max(lengths) else None
        yield Segment(row, slice(slot, slot + end - at), 1, max(lengths), mask)
        at, row = end, row + end - at


def _continues(one: Work, other: Work) -> bool:
    return other.slot == one.slot + 1 and len(other.tokens) == 1


def _chunk_mask(new: int, total: int) -> Tensor:
    """Causal, for queries that are the last ``new`` of ``total`` positions.

    >>> _chunk_mask(2, 4)
    tensor([[0., 0., 0., -inf],
            [0., 0., 0., 0.]])
    """
    return torch.full((new, total), float("-inf")).triu(total - new + 1)


def _ragged_mask(lengths: list[int]) -> Tensor:
    """One query a sequence, each with its own number of positions.

    >>> _ragged_mask([1, 3]).flatten(1)
    tensor([[0., -inf, -inf],
            [0., 0., 0.]])
    """
    longest = max(lengths)
    beyond = torch.arange(longest) >= torch.tensor(lengths)[:, None]  # (n, S)
    mask = torch.zeros(len(lengths), longest).masked_fill_(beyond, float("-inf"))
    return mask[:, None, None]
