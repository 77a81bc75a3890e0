"""How few bits does a weight need?

Checks of notebook 12.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from airust.lessons.checker import close, require

CODES = 16  # values that 32 neighbours of a row may have in the last exercise
BLOCK = 32
MOST = 0.5  # of q4_0's mean square error


def ex1(answer: Any) -> None:
    """Megabytes of a model."""
    for parameters, bits, group in ((596_049_920, 4, 32), (2_000_000, 8, 64), (1_000_000, 3, 16)):
        expected = parameters * (bits + 16 / group) / 8e6
        hint = "Bits of a weight, its share of the scale's 16, eight bits a byte."
        close(answer(parameters, bits, group) / expected, 1, 1e-9, hint)


def ex2(answer: Any) -> None:
    """The largest error of a layer's outputs."""
    import torch

    generator = torch.Generator().manual_seed(12)
    for bits, size in ((8, 64), (4, 48), (3, 7)):
        W = torch.randn(9, size, generator=generator)
        x = torch.randn(size, generator=generator)
        found = torch.as_tensor(answer(W, x, bits))
        require(tuple(found.shape) == (9,), "One number for each output is expected.")
        step = W.abs().amax(1) / (2 ** (bits - 1) - 1)
        least = step / 2 * x.abs().sum()
        low = "It can be exceeded: every weight of a row may be off by half a step, with any sign."
        require(bool((found >= least * (1 - 1e-4)).all()), low)
        high = "It holds, but a smaller number would hold, too."
        require(bool((found <= least * (1 + 1e-4)).all()), high)


def ex3(answer: Any) -> None:
    """A grid from the smallest to the largest value."""
    random = np.random.default_rng(12)
    cases = [random.random(20) ** 2, random.normal(size=31), np.array([2.0, 2.0]), np.array([0.5])]
    for values in cases:
        for bits in (2, 4, 8):
            low, high = float(values.min()), float(values.max())
            step = (high - low) / (2**bits - 1)
            expected = low + step * np.round((values - low) / step) if step else values
            found = np.asarray([float(value) for value in answer(values.tolist(), bits)])
            require(found.shape == values.shape, "As many values come out as go in.")
            if not step:
                require(np.allclose(found, values), "Equal values need no rounding at all.")
            hint = (
                f"{bits} bits have {2**bits} points and one step fewer, from smallest to largest."
            )
            require(np.allclose(found, expected, atol=1e-9 + 1e-6 * step), hint)


def ex4(answer: Any) -> None:
    """Two codes in a byte."""
    random = np.random.default_rng(4)
    for codes in (list(range(16)) * 2, random.integers(0, 16, 32).tolist()):
        found = answer(list(codes))
        require(isinstance(found, bytes | bytearray), "Bytes are expected.")
        require(len(found) == 16, "Thirty-two codes of four bits are sixteen bytes.")
        expected = bytes(codes[i] + 16 * codes[i + 16] for i in range(16))
        require(bytes(found) == expected, "Lower half: code i. Upper half: code i + 16.")


def ex5(answer: Any) -> None:
    """Cutting off instead of rounding."""
    hint = "Integrate e² over errors from 0 to a whole step, and over half a step to either side."
    close(answer, 4, 1e-6, hint)


def ex6(answer: Any) -> None:
    """The format that fits."""
    from airust.gpt.config import GPTConfig

    config = GPTConfig(vocab_size=10, layers=28, heads=16, kv_heads=8, head_dim=128)
    formats = {"q4_0": 4.5, "bf16": 16.0, "q8_0": 8.5, "q5_0": 5.5}
    parameters = 596_049_920
    for tokens in (100, 8192):
        cache = tokens * 2 * 28 * 8 * 128 * 2
        for name, bits in formats.items():
            size = parameters * bits / 8
            hint = f"Wrong where {name} fits just so, with the cache of {tokens} tokens beside it."
            exactly = int(size + cache) + 1
            require(answer(parameters, config, exactly, tokens, dict(formats)) == name, hint)


def ex7(answer: Any) -> None:
    """A format of sixteen values a block that beats q4_0."""
    import torch

    M, met, unseen = _layer()
    found = torch.as_tensor(answer(M.clone(), met.clone()))
    require(found.shape == M.shape, "A matrix of the same shape is expected.")
    most = max(len(set(block)) for block in found.reshape(-1, BLOCK).tolist())
    require(most <= CODES, f"A block of {BLOCK} has {most} different values, {CODES} are allowed.")
    error, theirs = (float((unseen @ (V - M).T).pow(2).mean()) for V in (found, _q4_0(M)))
    text = f"Its error is {error / theirs:.2f} of q4_0's, {MOST} are asked"
    require(
        error <= MOST * theirs, f"{text}: let errors cancel, or put the values where they help."
    )


def _q4_0(M: Any) -> Any:
    blocks = M.reshape(-1, BLOCK)
    step = blocks.gather(1, blocks.abs().argmax(-1, keepdim=True)) / -8
    return (((blocks / step + 8.5).floor().clamp(0, 15) - 8) * step).reshape(M.shape)


@cache
def _layer() -> tuple[Any, Any, Any]:
    """A matrix, inputs for calibration, and inputs for the test, whose features go together."""
    import torch

    generator = torch.Generator().manual_seed(7)
    M = torch.randn(96, 128, generator=generator)
    mixing = torch.randn(128, 128, generator=generator) * (0.93 ** torch.arange(128))[:, None]
    inputs = torch.randn(1536, 128, generator=generator) @ mixing
    return M, inputs[:1024], inputs[1024:]
