"""Optimisers: Muon for matrices with AdamW for the rest, AdamW alone, and Adam from scratch.

Adam (Kingma and Ba 2015, algorithm 1) divides a running mean of the gradient by the root of a
running mean of its square. Muon (Jordan et al. 2024) replaces each matrix's update by the nearest
orthogonal matrix, so that no direction dominates; on small models it needs about half the steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from airust.gpt.muon import StackedMuon
from airust.types import UserError


class AdamFromScratch:
    """Adam as in the paper, for the lessons; the tests hold it equal to torch.optim.Adam.

    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> (3 * w).sum().backward()
    >>> AdamFromScratch([w], lr=0.1).step()
    >>> round(w.item(), 4)  # the first step is lr, whatever the gradient's size
    0.9
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.betas, self.eps = lr, betas, eps
        self.steps = 0
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Move each parameter against its gradient."""
        self.steps += 1
        beta1, beta2 = self.betas
        for p, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            if p.grad is None:
                continue
            mean.mul_(beta1).add_(p.grad, alpha=1 - beta1)
            square.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            # both means start at zero; dividing corrects the first steps
            unbiased_mean = mean / (1 - beta1**self.steps)
            unbiased_square = square / (1 - beta2**self.steps)
            p -= self.lr * unbiased_mean / (unbiased_square.sqrt() + self.eps)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """Optimiser, learning rates and their schedule."""

    name: str = "muon"  # "muon" (with AdamW for embeddings and gains) or "adamw"
    lr: float = 0.01  # AdamW's peak learning rate
    matrix_lr: float = 0.014  # Muon's peak learning rate
    betas: tuple[float, float] = (0.9, 0.95)  # AdamW's running means
    momentum: float = 0.95  # Muon's running mean
    weight_decay: float = 0.1  # of matrices
    grad_clip: float = 1.0  # largest norm of the whole gradient; 0 = off
    warmup: int = 50  # steps of linear growth to the peak
    decay: float = 0.6  # share of the steps over which the rate falls to the floor
    floor: float = 0.0  # the last rate as a share of the peak
    shape: str = "linear"  # of the decay: "linear" or "cosine"

    def __post_init__(self) -> None:
        if self.name not in ("muon", "adamw"):
            raise UserError(f"The optimiser '{self.name}' is unknown; known: muon, adamw.")
        if self.shape not in ("linear", "cosine"):
            raise UserError(f"The decay '{self.shape}' is unknown; known: linear, cosine.")


def make_optimizers(
    model: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.bfloat16
) -> list[torch.optim.Optimizer]:
    """One optimiser for each group of parameters; each remembers its peak rate as ``peak``.

    Args:
        dtype: what Muon's iteration computes in.
    """
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        is_table = "embed_tokens" in name or "lm_head" in name
        (matrices if parameter.ndim == 2 and not is_table else others).append(parameter)
    optimizers: list[torch.optim.Optimizer] = []
    if config.name == "muon":
        optimizers.append(
            StackedMuon(
                matrices,
                dtype=dtype,
                lr=config.matrix_lr,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )
        )
        groups = [{"params": others, "weight_decay": 0.0}]
    else:
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
    optimizers.append(torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def lr_factor(step: int, steps: int, config: OptimizerConfig) -> float:
    """The learning rate of a step as a share of its peak: warm-up, plateau, decay.

    >>> config = OptimizerConfig(warmup=10, decay=0.5)
    >>> [round(lr_factor(s, 100, config), 2) for s in (0, 9, 49, 75, 99)]
    [0.1, 1.0, 1.0, 0.5, 0.02]
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    start = steps * (1 - config.decay)
    if step <= start or config.decay == 0:
        return warm
    progress = (step - start) / (steps - start)
    fall = 1 - progress if config.shape == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return warm * (config.floor + (1 - config.floor) * fall)


def set_lr(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Scale every group's rate to this share of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
