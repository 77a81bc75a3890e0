"""Where the engine computes, and in which numbers: a GPU where there is one, else the CPU."""

from __future__ import annotations

import logging

import torch

from airust.gpt.precision import compute_dtype

LOG = logging.getLogger(__name__)
DEVICES = ("auto", "cpu", "cuda")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}


def choose_device(wanted: str) -> str:
    """A GPU, "cuda", for "cuda" and "auto" where there is one; else "cpu", with a logged reason.

    >>> choose_device("cpu")
    'cpu'
    """
    if wanted == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    built = torch.version.cuda is not None
    reason = "PyTorch sees no CUDA GPU" if built else "this PyTorch was built without CUDA"
    level = logging.WARNING if wanted == "cuda" else logging.INFO
    LOG.log(level, "The engine 'torch' runs on the CPU: %s.", reason)
    return "cpu"


def choose_dtype(wanted: str | None, device: str) -> torch.dtype:
    """The named one; "auto" is what computes fastest; None is bfloat16 on a GPU, else float32."""
    if wanted == "auto":
        return compute_dtype(device)
    if wanted is None:
        return torch.bfloat16 if device == "cuda" else torch.float32
    return DTYPES[wanted]
