"""A thousand tokens a second: is that fast?

Checks of notebook 13.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airust.lessons.checker import close, digest, require

if TYPE_CHECKING:
    from airust.gpt.config import GPTConfig

A100 = (312e12, 2.039e12)  # FLOP/s, bytes/s
SIZES = (2, 1, 0.5)  # bytes of a number


def ex1(answer: Any) -> None:
    """A matrix product."""
    hint = "A sum of 1,024 products for each of 8 x 4,096 results; both operations count."
    close(answer, 2 * 8 * 1024 * 4096, 0, hint)


def ex2(answer: Any) -> None:
    """No more than is needed."""
    for config in _configs():
        output = config.hidden_size * config.vocab_size
        for new, past in ((1, 0), (5, 0), (1, 30), (40, 7)):
            pairs = sum(past + i + 1 for i in range(new))
            attention = 4 * config.layers * config.heads * config.head_dim * pairs
            expected = 2 * (_weights(config) - output) * new + 2 * output + attention
            found = float(answer(config, new, past))
            hint = (
                f"Wrong for {new} new tokens behind {past}: new token i sees itself, the past, i."
            )
            close(found / expected, 1, 1e-9, hint)


def ex3(answer: Any) -> None:
    """What the roof allows."""
    for config in _configs():
        for streams, past, size in ((1, 10, 2.0), (64, 1000, 1.0), (2048, 16, 2.0)):
            work = streams * (
                2 * _weights(config)
                + 4 * config.layers * config.heads * config.head_dim * (past + 1)
            )
            read = _weights(config) * size + streams * past * _cache(config, 2)
            expected = streams / max(work / A100[0], read / A100[1])
            found = float(answer(config, streams, past, size, *A100))
            hint = (
                f"Wrong for {streams} streams behind {past} tokens: a step takes the longer time."
            )
            close(found / expected, 1, 1e-9, hint)


def ex4(answer: Any) -> None:
    """More than everything."""
    hint = "Bytes over time can exceed a ceiling only if it is the ceiling of something else."
    require(digest("nb13.ex4", answer) == "9c03e17d6ea3", hint)


def ex5(answer: Any) -> None:
    """Streams at the ridge."""
    for weights, size, cache in (
        (6e8, 2.0, 0.0),
        (6e8, 2.0, 2e6),
        (7e9, 0.5, 1e6),
        (6e8, 2.0, 1e9),
    ):
        arithmetic, reading = 2 * weights / A100[0], cache / A100[1]
        found = float(answer(weights, size, cache, *A100))
        if arithmetic <= reading:
            hint = "Each stream takes longer to read than to compute: more of them never help."
            require(math.isinf(found), hint)
        else:
            expected = weights * size / A100[1] / (arithmetic - reading)
            close(
                found / expected, 1, 1e-9, "At the ridge arithmetic and reading take equally long."
            )


def ex6(answer: Any) -> None:
    """A line through two points."""
    for fixed, rate in ((0.003, 2e12), (0.0, 1e11), (0.01, 5e10)):
        points = [(size, fixed + size / rate) for size in (13.3e9, 6.9e9)]
        for size in (4.4e9, 20e9):
            found = float(answer(points[0], points[1], size))
            close(found * (fixed + size / rate), 1, 1e-6, "Slope, intercept, reciprocal.")


def ex7(answer: Any) -> None:
    """The widest numbers with which a service keeps its promises."""
    config = _configs()[1]
    for memory, past, limit in ((4e9, 4096, 0.02), (80e9, 512, 0.004), (80e9, 8192, 0.05)):
        best = {size: _best_rate(config, memory, past, limit, size) for size in SIZES}
        for wanted in (0.98 * rate for rate in best.values()):
            widest = max(size for size in SIZES if best[size] >= wanted)
            size, streams = answer(config, memory, *A100, past, limit, wanted)
            require(size in SIZES, "Numbers have 2, 1 or 0.5 bytes.")
            whole = int(streams) == streams and streams >= 1
            require(whole, "Streams are a whole number, at least 1.")
            held = _weights(config) * size + streams * past * _cache(config, size)
            require(held <= memory, f"{held / 1e9:.2f} GB do not fit into {memory / 1e9:g}.")
            taken = _seconds(config, int(streams), past, size)
            require(taken <= limit, f"A step takes {taken:.4f} s, {limit} are allowed.")
            reached = f"{streams / taken:,.0f} tokens/s are reached, {wanted:,.0f} are wanted."
            require(streams / taken >= wanted, reached)
            require(size == widest, f"Numbers of {widest} bytes would do.")


def _best_rate(config: GPTConfig, memory: float, past: int, limit: float, size: float) -> float:
    """More streams give more tokens, so the most that keep to the limits are found by halving."""
    room = (memory - _weights(config) * size) / (past * _cache(config, size))
    low, high = 0, max(0, int(room))
    while low < high:
        middle = (low + high + 1) // 2
        fits = _seconds(config, middle, past, size) <= limit
        low, high = (middle, high) if fits else (low, middle - 1)
    return low / _seconds(config, low, past, size) if low else 0.0


def _seconds(config: GPTConfig, streams: int, past: int, size: float) -> float:
    pairs = 4 * config.layers * config.heads * config.head_dim * (past + 1)
    work = streams * (2 * _weights(config) + pairs)
    read = _weights(config) * size + streams * past * _cache(config, size)
    return max(work / A100[0], read / A100[1])


def _cache(config: GPTConfig, size: float) -> float:
    return 2 * config.layers * config.kv_heads * config.head_dim * size


def _weights(config: GPTConfig) -> int:
    """Weights that a token is multiplied by."""
    heads = 2 * config.heads + 2 * config.kv_heads
    layer = config.hidden_size * (heads * config.head_dim + 3 * config.ffn_size)
    return config.layers * layer + config.hidden_size * config.vocab_size


def _configs() -> tuple[GPTConfig, ...]:
    from airust.gpt.config import GPTConfig

    small = GPTConfig(
        vocab_size=500, hidden_size=48, layers=2, heads=4, kv_heads=2, head_dim=16, ffn_size=80
    )
    qwen = GPTConfig(
        vocab_size=151_936, hidden_size=1024, layers=28, heads=16, kv_heads=8, head_dim=128,
        ffn_size=3072,
    )  # fmt: skip
    return small, qwen
