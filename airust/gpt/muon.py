"""Muon (Jordan et al. 2024) for all matrices of one shape at once.

Muon replaces the update G of a matrix by the nearest orthogonal matrix, U V^T of its singular value
decomposition U S V^T, found without a decomposition by the Newton-Schulz iteration

    X <- a X + b (X X^T) X + c (X X^T)^2 X,    X = G / |G| at first.

torch.optim.Muon does that matrix by matrix. A small model has dozens of small matrices, so there
most of the time goes into starting operations; here the matrices of one shape are a stack
(M, rows, columns) and share them. A test holds both equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class StackedMuon(torch.optim.Muon):
    """torch's Muon, with its state and its settings, in fewer operations.

    Args:
        parameters: matrices.
        dtype: what the iteration computes in; it tolerates bfloat16, but not every CPU has it.
        settings: those of torch.optim.Muon.
    """

    def __init__(
        self, parameters: Sequence[Tensor], dtype: torch.dtype = torch.bfloat16, **settings: Any
    ) -> None:
        super().__init__(parameters, **settings)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient."""
        for group in self.param_groups:
            parameters: list[Tensor] = []
            gradients: list[Tensor] = []
            means: list[Tensor] = []
            self._init_group(group, parameters, gradients, means)
            if not parameters:
                continue
            torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
            updates = torch._foreach_lerp(gradients, means, group["momentum"])  # Nesterov's
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            for indices in _same_shape(updates):
                stack = torch.stack([_wide(updates[i]) for i in indices]).to(self.dtype)
                stack = orthogonalise(stack, group["ns_coefficients"], group["ns_steps"])
                turned = zip(indices, stack.to(torch.float32).unbind(0), strict=True)
                for i, update in turned:
                    rows, columns = parameters[i].shape
                    rate = group["lr"] * math.sqrt(max(1, rows / columns))
                    parameters[i].add_(update.T if rows > columns else update, alpha=-rate)


def orthogonalise(
    stack: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float = 1e-7
) -> Tensor:
    """The Newton-Schulz iteration on a stack (M, rows, columns) with rows <= columns."""
    a, b, c = coefficients
    x: Tensor = stack / torch.linalg.matrix_norm(stack, keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT  # (M, rows, rows)
        update = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, update, x, beta=a)
    return x


def _wide(matrix: Tensor) -> Tensor:
    """The matrix, on its side if it is higher than wide: X X^T is then the smaller product."""
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _same_shape(matrices: Sequence[Tensor]) -> list[list[int]]:
    """Which matrices have the same shape once they lie on their sides."""
    shapes: dict[torch.Size, list[int]] = {}
    for i, matrix in enumerate(matrices):
        shapes.setdefault(_wide(matrix).shape, []).append(i)
    return list(shapes.values())
