"""The stacked Muon against torch's own, matrix by matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from airust.gpt.muon import StackedMuon, orthogonalise

SHAPES = [(16, 16), (16, 40), (40, 16), (16, 16), (8, 40)]
SETTINGS = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator).requires_grad_() for shape in SHAPES]


def train(optimizer: torch.optim.Optimizer, matrices: list[Tensor], steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.01), ("float32", 0.02)])
def test_it_moves_as_the_one_of_torch(dtype: str, tolerance: float) -> None:
    # torch iterates in bfloat16: float32 differs by that rounding.
    ours, theirs = parameters(), parameters()
    train(StackedMuon(ours, getattr(torch, dtype), **SETTINGS), ours, steps=5)
    train(torch.optim.Muon(theirs, **SETTINGS), theirs, steps=5)
    for a, b, start in zip(ours, theirs, parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)
        assert (b - start).abs().max() > 5 * tolerance


def test_its_state_is_the_one_of_torch() -> None:
    matrices, others = parameters(), parameters()
    ours, theirs = StackedMuon(matrices, **SETTINGS), torch.optim.Muon(others, **SETTINGS)
    train(ours, matrices, steps=2)
    theirs.load_state_dict(ours.state_dict())
    for a, b in zip(matrices, others, strict=True):
        assert torch.equal(ours.state[a]["momentum_buffer"], theirs.state[b]["momentum_buffer"])


def test_a_matrix_without_a_gradient_stays() -> None:
    matrices = parameters()
    optimizer = StackedMuon(matrices, **SETTINGS)
    optimizer.step()
    matrices[0].grad = torch.ones_like(matrices[0])
    optimizer.step()
    for i, (now, before) in enumerate(zip(matrices, parameters(), strict=True)):
        assert torch.equal(now, before) == (i > 0)


def test_the_iteration_brings_singular_values_near_one() -> None:
    stack = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(2))
    values = torch.linalg.svdvals(orthogonalise(stack, (3.4445, -4.7750, 2.0315), 5))
    assert values.min() > 0.5 and values.max() < 1.5
