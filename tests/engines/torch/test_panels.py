"""Products with weights in panels against PyTorch's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from airust.engines.torch.kernels import BLOCK, multiply
from airust.engines.torch.linear import quantise
from airust.engines.torch.panels import ROWS, WIDTH, pack, panels_of
from airust.engines.torch.team import together

SIZES = sorted({1, 2, 3, ROWS - 1, ROWS, ROWS + 1, BLOCK - 1, BLOCK, BLOCK + ROWS + 1})
SHAPES = [(1, 1), (WIDTH, 4), (WIDTH - 1, 5), (WIDTH + 1, 7), (3 * WIDTH, 129), (100, 33)]


def in_panels(weight: torch.Tensor) -> np.ndarray:
    panels = torch.zeros(panels_of(len(weight)), weight.shape[1], WIDTH, dtype=weight.dtype)
    pack(weight, panels)
    return panels.numpy()


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("stored", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("add", [False, True])
def test_products(shape: tuple[int, int], stored: str, add: bool) -> None:
    weight, scale = random(*shape), torch.ones(0)
    if stored == "int8":
        weight, scale = quantise(weight)
        exact = weight * scale[:, None]
    else:
        weight = weight.to(getattr(torch, stored))
        exact = weight.float()
    panels = in_panels(weight.view(torch.uint16) if stored == "bfloat16" else weight)
    for count, threads in itertools.product(SIZES, (1, 2)):
        x, y = random(count, shape[1]), random(count, shape[0])
        expected = x @ exact.T + y * add
        together(
            lambda counters, me, x=x, y=y: multiply(
                panels, scale.numpy(), x.numpy(), add, y.numpy(), counters, me, 0
            ),
            phases=1,
            threads=threads,
        )
        torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-5)


def test_what_lies_beside_is_left_alone() -> None:
    """The result may be columns of something wider."""
    weight, x, wide = random(WIDTH + 3, 20), random(ROWS + 2, 20), torch.zeros(ROWS + 2, 100)
    y = wide[:, 10 : 10 + len(weight)]
    counters = np.zeros((1, 2), np.int64)
    none = np.zeros(0, np.float32)
    multiply(in_panels(weight), none, x.numpy(), False, y.numpy(), counters, 0, 0)
    torch.testing.assert_close(y, x @ weight.T, atol=1e-4, rtol=1e-5)
    assert not wide[:, :10].any() and not wide[:, 10 + len(weight) :].any()
