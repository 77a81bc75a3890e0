"""Decode steps on a GPU, recorded once as a CUDA graph and replayed.

A small model's decode step is hundreds of kernels of a few microseconds; starting them one by one
from Python takes longer than they do. A graph starts them all at once. It needs the same shapes
and the same memory each time: the number of sequences is rounded up to a power of two, attention
looks at the whole capacity under a mask, and the step's numbers are copied into fixed tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from airust.engines.torch.forward import FastGPT
from airust.engines.torch.slots import SlotCache
from airust.engines.torch.steps import Step

WARM_UP = 3  # runs before the recording: libraries allocate what they need


@dataclass(frozen=True, slots=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    step: Step  # its tensors are what the graph reads
    logits: Tensor  # what it writes


class Graphs:
    """The recorded steps of one model and one cache."""

    def __init__(self, model: FastGPT) -> None:
        self._model = model
        self._recorded: dict[int, _Recorded] = {}  # by number of sequences
        self._table: Tensor | None = None  # that they read and write

    def forward(self, step: Step, cache: SlotCache) -> Tensor:
        """As ``FastGPT.forward``, for a step of single tokens that all need logits."""
        if self._table is not cache.table:  # it has grown
            self._recorded.clear()
            self._table = cache.table
        size = padded_size(len(step.tokens))
        wide = pad(step, size, cache.capacity).to(self._model.device)
        if size not in self._recorded:
            self._recorded[size] = self._record(wide, cache)
        recorded = self._recorded[size]
        for name in ("tokens", "angles", "slots", "positions"):
            getattr(recorded.step, name).copy_(getattr(wide, name))
        recorded.graph.replay()
        return recorded.logits[: len(step.tokens)].clone()

    def _record(self, step: Step, cache: SlotCache) -> _Recorded:
        names = ("tokens", "angles", "slots", "positions")
        fixed = replace(step, **{name: getattr(step, name).clone() for name in names})
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._model.forward(fixed, cache)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._model.forward(fixed, cache)
        return _Recorded(graph, fixed, logits)


def padded_size(sequences: int) -> int:
    """The next power of two.

    >>> [padded_size(n) for n in (1, 2, 3, 64, 65)]
    [1, 2, 4, 64, 128]
    """
    return 1 << (sequences - 1).bit_length()


def pad(step: Step, size: int, capacity: int) -> Step:
    """The step with its first row repeated up to the size, looking at all positions.

    The repeated rows store what the first one stores, in the same place.
    """
    rows = torch.arange(size)
    rows[len(step.tokens) :] = 0
    names = ("tokens", "angles", "slots", "positions")
    wide = {name: getattr(step, name)[rows] for name in names}
    return replace(step, singles=size, longest=capacity, **wide)
