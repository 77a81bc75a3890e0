"""The fused loss against the plain one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from airust.gpt.attention import attend
from airust.gpt.checkpoint import load_model
from airust.gpt.data import IGNORE
from airust.gpt.loss import NextTokenLoss


def test_loss_and_gradients_equal_the_plain_form(model_dir: Path) -> None:
    torch.manual_seed(1)
    plain, fused = load_model(model_dir).train(), load_model(model_dir).train()
    ids = torch.randint(0, plain.config.vocab_size, (5, 90))
    targets = torch.randint(0, plain.config.vocab_size, (5, 90))
    targets[:, ::4] = IGNORE
    expected = F.cross_entropy(
        plain(ids).flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    got = NextTokenLoss(fused)(ids, targets, None)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(NextTokenLoss(fused)(ids, targets, None), got)
    (expected / 300).backward()
    (got / 300).backward()
    for (name, a), b in zip(plain.named_parameters(), fused.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_the_training_attention_equals_the_kernel(model_dir: Path) -> None:
    model = load_model(model_dir)
    ids = torch.randint(0, model.config.vocab_size, (2, 20))
    mask = torch.ones(20, 20, dtype=torch.bool).tril()[None, None]
    with_gradient = model.train()(ids, mask)
    with torch.no_grad():
        without = model(ids)
    torch.testing.assert_close(with_gradient, without, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masked", [True, False])
def test_short_training_rows_in_bfloat16_equal_the_kernel(masked: bool) -> None:
    torch.manual_seed(2)
    mask = torch.ones(20, 20, dtype=torch.bool).tril() if masked else None
    if mask is not None:
        mask[10:, :10] = False  # two documents in one row
    exact = [torch.randn(2, 3, 20, 16, requires_grad=True) for _ in range(3)]
    short = [t.detach().bfloat16().requires_grad_() for t in exact]
    expected, got = attend(*exact, mask), attend(*short, mask)
    torch.testing.assert_close(got.float(), expected, rtol=0.05, atol=0.03)
    expected.sum().backward()
    got.sum().backward()
    for a, b in zip(exact, short, strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(b.grad.float(), a.grad, rtol=0.05, atol=0.05)
