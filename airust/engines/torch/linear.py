"""Matrix products by a library: on a GPU, and of many rows where the processor has instructions
for bfloat16 or short vectors (else ``panels`` is faster).

oneDNN reads a blocked layout fastest; it is the layout that torch's own compiler uses for frozen
weights. Where oneDNN is missing the weight stays as it is.

int8 weights are whole numbers from -127 to 127 with one scale for each output row. They take a
quarter of the memory; a product turns them into floating-point numbers as it goes.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from airust.gpt.precision import compute_dtype


class Linear:
    """y = x W^T + b for rows x (R, I), weight (O, I) and bias (O). Rows are float32.

    >>> Linear(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))(torch.tensor([[1.0, 1.0]]))
    tensor([[3., 7.]])

    Args:
        dtype: what the weight is stored in, and multiplied in unless it is int8.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.scale: Tensor | None = None
        self.dtype = dtype
        if dtype == torch.int8:
            weight, self.scale = quantise(weight)
            self.dtype = compute_dtype(weight.device.type)
        weight = weight.to(dtype).contiguous()
        self.bias = None if bias is None else bias.to(self.dtype)
        self.packed = weight.device.type == "cpu" and self.scale is None and can_pack(dtype)
        if self.packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, 16)
        self.weight = weight

    def __call__(self, x: Tensor) -> Tensor:  # (R, I) -> (R, O)
        x = x.to(self.dtype)
        if self.scale is not None:
            scaled = F.linear(x, self.weight.to(self.dtype)).float() * self.scale
            return scaled if self.bias is None else scaled + self.bias
        if not self.packed:
            return F.linear(x, self.weight, self.bias).float()
        rows = len(x)
        if extra := usual_rows(rows) - rows:
            x = F.pad(x, (0, 0, 0, extra))
        multiply = torch.ops.mkldnn._linear_pointwise
        y: Tensor = multiply(x, self.weight, self.bias, "none", [], "")[:rows].float()
        return y


def usual_rows(rows: int) -> int:
    """As many rows or some more, at most an eighth: one of few numbers.

    oneDNN compiles a product anew for each number of rows and keeps what it has compiled: prompts
    of every length would take it milliseconds at a time, and hundreds of megabytes in the end.

    >>> [usual_rows(rows) for rows in (1, 16, 17, 100, 129, 300)]
    [1, 16, 18, 104, 144, 320]
    """
    step = 1 << max(0, rows.bit_length() - 4)
    return -(-rows // step) * step


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 weights (O, I) and the scales (O) of their rows: W = scale * int8, rounded.

    >>> numbers, scale = quantise(torch.tensor([[1.0, -0.5], [0.0, 0.0]]))
    >>> numbers.tolist(), [round(s, 5) for s in scale.tolist()]
    ([[127, -64], [0, 0]], [0.00787, 1.0])
    """
    scale = weight.float().abs().amax(-1) / 127
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (weight.float() / scale[:, None]).round().to(torch.int8), scale


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies packed weights of this type here, tried on a small product."""
    weight, x = torch.eye(16, dtype=dtype), torch.ones(2, 16, dtype=dtype)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 2)
        y = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    except (RuntimeError, AttributeError):
        return False
    return bool(torch.equal(y, x))
