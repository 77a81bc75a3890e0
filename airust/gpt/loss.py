"""The training loss: cross-entropy of the next token, only where there is something to learn."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from airust.gpt.data import IGNORE
from airust.gpt.model import GPT

CHUNK = 256  # positions whose logits are in memory at a time


class LinearCrossEntropy(torch.autograd.Function):
    """Output projection and cross-entropy in one, a chunk of positions at a time.

    The logits of a batch are by far its largest tensor. Here their gradient, softmax - one_hot,
    is computed while they are still in the cache, and only the gradients of the hidden states
    and of the table are kept (as in Wijmans et al. 2024, Cut Your Losses, section 4). The sum of
    -log p(target) in nats is returned.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """(N, C), (V, C) and (N,) -> a float32 scalar."""
        total = torch.zeros((), device=hidden.device)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        for start in range(0, len(hidden), CHUNK):
            part, target = hidden[start : start + CHUNK], targets[start : start + CHUNK, None]
            log_probs = F.log_softmax((part @ weight.T).float(), dim=-1)
            total -= log_probs.gather(1, target).sum()
            gradient = log_probs.exp_()  # of the logits
            gradient.scatter_add_(1, target, torch.full_like(target, -1, dtype=gradient.dtype))
            gradient = gradient.to(hidden.dtype)
            grad_hidden[start : start + CHUNK] = gradient @ weight
            grad_weight += gradient.T @ part
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """Scale the gradients that forward has computed."""
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], grad_weight * grads[0], None


class NextTokenLoss(nn.Module):
    """Sum of -log p(target) in nats over the positions that count.

    The output projection runs on those positions alone, which saves its cost for a user's turns
    and padding.
    """

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T), (B, T) and the attention mask -> a scalar, float32."""
        counted = targets != IGNORE
        hidden = self.model.hidden(inputs, mask)[counted]  # (N, C)
        weight = self.model.lm_head.weight
        if torch.is_autocast_enabled(hidden.device.type):
            dtype = torch.get_autocast_dtype(hidden.device.type)
            hidden, weight = hidden.to(dtype), weight.to(dtype)
        if not torch.is_grad_enabled():
            parts = zip(hidden.split(CHUNK), targets[counted].split(CHUNK), strict=True)
            losses = [F.cross_entropy((h @ weight.T).float(), t, reduction="sum") for h, t in parts]
            return torch.stack(losses).sum()
        loss: Tensor = LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden, weight, targets[counted]
        )
        return loss
