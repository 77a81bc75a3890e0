"""Matrix products for inference: the weight is laid out once, for the way it will be read.

A decode step multiplies a few rows by every weight of the model, so it is bound by reading the
weights. oneDNN reads a blocked layout fastest; it is the layout that torch's own compiler uses
for frozen weights. One row times a small matrix is the exception: there a plain product starts
sooner. Where oneDNN is missing the weight stays as it is.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 1 << 20  # numbers; up to here one row is faster without oneDNN, and a copy is cheap


class Linear:
    """y = x W^T + b for rows x (R, I), weight (O, I) and bias (O). Rows are float32.

    >>> Linear(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))(torch.tensor([[1.0, 1.0]]))
    tensor([[3., 7.]])

    Args:
        dtype: what the weight is stored and multiplied in.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.dtype = dtype
        weight = weight.to(dtype).contiguous()
        self.bias = None if bias is None else bias.to(dtype)
        single = dtype == torch.float32 and weight.numel() <= SMALL
        self.columns = weight.t().contiguous() if single else None  # (I, O)
        self.packed = can_pack(dtype)
        if self.packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, 16)
        self.weight = weight

    def add_to(self, residual: Tensor, x: Tensor) -> None:
        """residual (R, O) += y, in one operation where that is possible."""
        if self.columns is not None and self.bias is None and x.shape[0] == 1:
            residual.addmm_(x, self.columns)
        else:
            residual += self(x)

    def __call__(self, x: Tensor) -> Tensor:  # (R, I) -> (R, O)
        if self.columns is not None and x.shape[0] == 1:
            if self.bias is None:
                return torch.mm(x, self.columns)
            return torch.addmm(self.bias, x, self.columns)
        x = x.to(self.dtype)
        if not self.packed:
            return F.linear(x, self.weight, self.bias).float()
        multiply = torch.ops.mkldnn._linear_pointwise
        y: Tensor = multiply(x, self.weight, self.bias, "none", [], "").float()
        return y


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
