"""Adam from scratch against torch's, the groups of parameters, the schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from airust.gpt.checkpoint import load_model
from airust.gpt.optimizer import AdamFromScratch, OptimizerConfig, lr_factor, make_optimizers
from airust.types import UserError


def test_adam_from_scratch_equals_torch() -> None:
    torch.manual_seed(0)
    start = torch.randn(5, 3)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    a = AdamFromScratch([ours], lr=0.03, betas=(0.8, 0.95))
    b = torch.optim.Adam([theirs], lr=0.03, betas=(0.8, 0.95))
    data = torch.randn(20, 3)
    for row in data:
        for weight, optimizer in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            (weight @ row).pow(2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_every_parameter_is_in_one_group(model_dir: Path) -> None:
    model = load_model(model_dir)
    for name in ("muon", "adamw"):
        optimizers = make_optimizers(model, OptimizerConfig(name=name))
        held = [id(p) for o in optimizers for g in o.param_groups for p in g["params"]]
        assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match="sgd"):
        OptimizerConfig(name="sgd")
    with pytest.raises(UserError, match="steep"):
        OptimizerConfig(shape="steep")


def test_the_schedule_never_rises_after_warm_up() -> None:
    for shape in ("linear", "cosine"):
        config = OptimizerConfig(warmup=7, decay=0.7, floor=0.1, shape=shape)
        factors = [lr_factor(step, 200, config) for step in range(200)]
        assert factors[:7] == sorted(factors[:7])
        assert factors[7:] == sorted(factors[7:], reverse=True)
        assert 0.1 <= factors[-1] < 0.12
