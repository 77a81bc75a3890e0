"""Rotary position embedding (Su et al. 2021, RoFormer, section 3.2.2), also for longer contexts.

Pair i of a head's D numbers is turned by the angle ``position * f_i``, f_i = theta^(-2i/D). The dot
product of a query at m with a key at n then depends on m - n alone. Pairs are (i, i + D/2), the
half-split layout of Llama and Qwen checkpoints.

A model that was trained on L positions has never seen the larger angles of later ones, at least
not of pairs that turn slowly. So the slow pairs are turned more slowly still; how slow is slow,
the schemes answer differently. With s = how many times longer the context becomes:

linear     f_i / s for every pair (Chen et al. 2023, Position Interpolation, equation 4)
llama3     f_i / s for waves longer than L / low, f_i for those shorter than L / high, and between
           them a blend, linear in the number of turns (Llama 3.1; code in meta-llama/llama-models)
yarn       f_i / s for pairs that make fewer than beta_slow turns in L positions, f_i for more than
           beta_fast, and between them a blend (Peng et al. 2023, YaRN, section 3.2), linear in i
           as in its authors' code
longrope   f_i / c_i, each c_i found by a search; other c_i for texts of up to L tokens than for
           longer ones (Ding et al. 2024, LongRoPE, section 3)

Attention over more positions is flatter. The last two sharpen it again: they multiply cosines and
sines by an attention factor, whose square then multiplies every score.

LongRoPE turns all keys of a text differently as soon as the text is longer than L. Its rotary table
has the rows of short texts first, L of them, then those of long ones, and
``GPTConfig.rotary_start`` tells where a text begins.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from airust.gpt.config import GPTConfig, RopeScaling


def rotary_table(config: GPTConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (rows, D/2), float32: a row a position, LongRoPE's short ones first.

    >>> cos, sin = rotary_table(GPTConfig(vocab_size=9, head_dim=4, context=8))
    >>> cos.shape, cos[1]  # the angles 1 and 10000^(-2/4) = 0.01
    (torch.Size([8, 2]), tensor([0.5403, 0.9999]))
    """
    long = config.rotary_start(config.context)
    parts = [_turns(config, config.context, long=long > 0)]
    if long:
        parts.insert(0, _turns(config, long, long=False))
    cosines, sines = zip(*parts, strict=True)
    return torch.cat(cosines), torch.cat(sines)


def _turns(config: GPTConfig, length: int, long: bool) -> tuple[Tensor, Tensor]:
    scaling, turned = config.rope_scaling, config.rotary_dim // 2
    positions = torch.arange(length, dtype=torch.float32)
    angles = torch.outer(positions, frequencies(config, long))  # (T, turned)
    strength = 1.0 if scaling is None else scaling.attention_factor
    still = config.head_dim // 2 - turned  # pairs that position leaves alone: cosine 1, sine 0
    cos = torch.cat((angles.cos() * strength, torch.ones(length, still)), dim=1)
    sin = torch.cat((angles.sin() * strength, torch.zeros(length, still)), dim=1)
    return cos, sin


def frequencies(config: GPTConfig, long: bool = False) -> Tensor:
    """Radians a position of each pair that is turned.

    Args:
        long: LongRoPE's for texts longer than its original context.
    """
    dim, scaling = config.rotary_dim, config.rope_scaling
    steps = config.rope_theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)  # 1 / f_i
    if scaling is None:
        return 1 / steps
    if scaling.kind == "longrope":
        return 1 / (torch.tensor(scaling.long_factors if long else scaling.short_factors) * steps)
    if scaling.kind == "linear":
        return 1 / steps / scaling.factor
    kept = _kept_llama3(steps, scaling) if scaling.kind == "llama3" else _kept_yarn(config, scaling)
    return (1 - kept) / steps / scaling.factor + kept / steps


def _kept_llama3(steps: Tensor, scaling: RopeScaling) -> Tensor:
    """How much of each frequency stays: 1 all, 0 none of it."""
    turns = scaling.original_context / (2 * math.pi * steps)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    return ((turns - low) / (high - low)).clamp(0, 1)


def _kept_yarn(config: GPTConfig, scaling: RopeScaling) -> Tensor:
    """How much of each frequency stays: 1 all, 0 none of it."""
    dim = config.rotary_dim

    def pair(turns: float) -> float:
        """The i, seldom whole, of which f_i makes this many turns in the original context."""
        wave = scaling.original_context / (2 * math.pi * turns)
        return dim * math.log(wave) / (2 * math.log(config.rope_theta))

    first, last = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dim - 1)
    width = last - first or 0.001  # both borders at one pair: a step
    return 1 - ((torch.arange(dim // 2, dtype=torch.float32) - first) / width).clamp(0, 1)


def yarn_attention_factor(factor: float, weight: float = 1.0) -> float:
    """0.1 w ln(s) + 1 (Peng et al. 2023, section 3.4, where w = 1).

    >>> round(yarn_attention_factor(4.0), 4)
    1.1386
    """
    return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0


def longrope_attention_factor(factor: float, original_context: int) -> float:
    """sqrt(1 + ln(s) / ln(L)), as in the code of LongRoPE; Phi-3.5 has s = 32, L = 4096.

    >>> round(longrope_attention_factor(32.0, 4096), 4)
    1.1902
    """
    return math.sqrt(1 + math.log(factor) / math.log(original_context)) if factor > 1 else 1.0


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of x (..., T, D) by its position's angles (..., T, D/2)."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
