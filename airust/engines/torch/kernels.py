"""Loops that PyTorch has no single operation for, compiled to machine code by Numba.

A decode step of one sequence does little work per operation: reading the weights of a small model
takes a tenth of a millisecond, starting a hundred tensor operations several times as long. Here
the whole step is one function. Attention of many sequences with one new token each, every one with
its own length, is another: PyTorch's kernel starts a matrix product for each head of each of them.

Numba compiles at the first call and keeps the result on disk. All functions release the GIL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

# Sums may be added in another order, which is what vectors need; NaN and infinity stay themselves,
# because they tell that a model's weights are damaged.
FAST: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
LOG2E = np.float32(1.4426950408889634)


@intrinsic
def _float_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 with these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


def number(stored: Any) -> Any:
    """A stored weight as float32: float32 itself, bfloat16 bits in uint16, or int8."""


@overload(number, inline="always")
def _number(stored: Any) -> Any:
    def widen(stored: Any) -> Any:  # bfloat16 is the upper half of a float32
        return _float_of_bits(np.uint32(stored) << np.uint32(16))  # type: ignore[call-arg]

    def convert(stored: Any) -> Any:
        return np.float32(stored)

    return widen if stored == types.uint16 else convert


@njit(inline="always", **FAST)
def _exp(x: Any) -> Any:
    """e^x for x <= 0 to 2e-7 relative, in operations that vectorise: 2^n times a polynomial."""
    t = max(x * LOG2E, np.float32(-126.0))
    n = np.floor(t)
    f = (t - n) * np.float32(0.6931471805599453)  # 0 <= f < ln 2
    p = np.float32(1.0 / 5040.0)
    p = p * f + np.float32(1.0 / 720.0)
    p = p * f + np.float32(1.0 / 120.0)
    p = p * f + np.float32(1.0 / 24.0)
    p = p * f + np.float32(1.0 / 6.0)
    p = p * f + np.float32(0.5)
    p = p * f + np.float32(1.0)
    p = p * f + np.float32(1.0)
    bits = np.uint32(np.int32(n) + np.int32(127)) << np.uint32(23)  # of 2^n
    return p * _float_of_bits(bits)  # type: ignore[call-arg]


@njit(inline="always", **FAST)
def _inverse_norm(x: Any, floor: Any) -> Any:
    """1 / sqrt(|x|^2 + floor^2); RMSNorm without its gain and the factor sqrt(C)."""
    total = np.float32(0)
    for i in range(x.shape[0]):
        total += x[i] * x[i]
    return np.float32(1) / np.sqrt(total + floor * floor)


@njit(**FAST)
def _turn(head: Any, gain: Any, floor: Any, cos: Any, sin: Any) -> None:
    """Normalise (where there is a gain, (1, D)) and rotate one head's query or key, in place."""
    half = head.shape[0] // 2
    if gain.shape[0]:
        factor = _inverse_norm(head, floor)
        for i in range(head.shape[0]):
            head[i] *= factor * gain[0, i]
    for i in range(half):
        first, second = head[i], head[half + i]
        head[i] = first * cos[i] + second * sin[i]  # the sign is inside the sine
        head[half + i] = second * cos[half + i] + first * sin[half + i]


@njit(**FAST)
def _attend(query: Any, keys: Any, values: Any, length: int, scores: Any, out: Any) -> None:
    """softmax(q K^T / sqrt(D)) V over the first positions of keys and values (S, D)."""
    size = query.shape[0]
    scale = np.float32(1) / np.sqrt(np.float32(size))
    largest = np.float32(-np.inf)
    for s in range(length):
        key, total = keys[s], np.float32(0)
        for i in range(size):
            total += query[i] * key[i]
        scores[s] = total * scale
        largest = max(largest, scores[s])
    total = np.float32(0)
    for s in range(length):
        scores[s] = _exp(scores[s] - largest)
        total += scores[s]
    for i in range(size):
        out[i] = np.float32(0)
    whole = length - length % 4
    for s in range(0, whole, 4):
        a, b, c, d = scores[s], scores[s + 1], scores[s + 2], scores[s + 3]
        v, w, x, y = values[s], values[s + 1], values[s + 2], values[s + 3]
        for i in range(size):
            out[i] += a * v[i] + b * w[i] + c * x[i] + d * y[i]
    for s in range(whole, length):
        a, v = scores[s], values[s]
        for i in range(size):
            out[i] += a * v[i]
    factor = np.float32(1) / total
    for i in range(size):
        out[i] *= factor


@njit(**FAST)
def turn_rows(qkv: Any, heads: int, gains: Any, floor: Any, rope: Any) -> None:
    """Normalise and rotate the queries and keys of N tokens, in place.

    Args:
        qkv: the projections of all heads (N, H + 2 K, D).
        heads: H + K.
        gains: of the norm of queries and keys (H + K, D), or (0, D).
        floor: of that norm.
        rope: cosines and sines of the positions (N, 2, D).
    """
    for n in range(qkv.shape[0]):
        row, cos, sin = qkv[n], rope[n, 0], rope[n, 1]
        for h in range(heads):
            _turn(row[h], gains[h : h + 1], floor, cos, sin)


@njit(**FAST)
def attend_rows(
    qkv: Any, gains: Any, floor: Any, rope: Any, table: Any, slots: Any, positions: Any,
    scores: Any, out: Any,
) -> None:  # fmt: skip
    """One new token of each of N sequences: store its key and value, and attend.

    Args:
        qkv: the projections of all heads (N, H + 2 K, D); queries and keys are turned in place.
        gains: of the norm of queries and keys (H + K, D), or (0, D).
        floor: of that norm.
        rope: cosines and sines of the positions (N, 2, D).
        table: keys and values of one layer (2, slots, K, capacity, D).
        slots, positions: of each sequence and its new token (N).
        scores: room for as many numbers as the longest sequence has positions.
        out: (N, H, D).
    """
    kv_heads, heads = table.shape[2], out.shape[1]
    group = heads // kv_heads
    for n in range(qkv.shape[0]):
        row, position, cos, sin = qkv[n], positions[n], rope[n, 0], rope[n, 1]
        for h in range(heads + kv_heads):
            _turn(row[h], gains[h : h + 1], floor, cos, sin)
        for k in range(kv_heads):
            keys, values = table[0, slots[n], k], table[1, slots[n], k]
            keys[position] = row[heads + k]
            values[position] = row[heads + kv_heads + k]
            for h in range(k * group, (k + 1) * group):
                _attend(row[h], keys, values, position + 1, scores, out[n, h])


@njit(**FAST)
def _multiply(weights: Any, scales: Any, x: Any, add: bool, y: Any) -> None:
    """y = W x, or y += W x, for each of N vectors.

    Args:
        weights: (O, I).
        scales: of the rows of int8 weights (O); empty for others.
        x: (N, I).
        y: (N, O).
    """
    for o in range(weights.shape[0]):
        row = weights[o]
        scale = scales[o] if scales.shape[0] else np.float32(1)
        n = 0
        while n + 4 <= x.shape[0]:  # a row is read once for four
            one, two, three, four = x[n], x[n + 1], x[n + 2], x[n + 3]
            a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for i in range(one.shape[0]):
                w = number(row[i])
                a += w * one[i]
                b += w * two[i]
                c += w * three[i]
                d += w * four[i]
            y[n, o] = a * scale + y[n, o] if add else a * scale
            y[n + 1, o] = b * scale + y[n + 1, o] if add else b * scale
            y[n + 2, o] = c * scale + y[n + 2, o] if add else c * scale
            y[n + 3, o] = d * scale + y[n + 3, o] if add else d * scale
            n += 4
        while n + 2 <= x.shape[0]:
            one, other, a, b = x[n], x[n + 1], np.float32(0), np.float32(0)
            for i in range(one.shape[0]):
                w = number(row[i])
                a += w * one[i]
                b += w * other[i]
            y[n, o] = a * scale + y[n, o] if add else a * scale
            y[n + 1, o] = b * scale + y[n + 1, o] if add else b * scale
            n += 2
        if n < x.shape[0]:
            one, a = x[n], np.float32(0)
            for i in range(one.shape[0]):
                a += number(row[i]) * one[i]
            y[n, o] = a * scale + y[n, o] if add else a * scale


@njit(**FAST)
def _normalise(x: Any, floor: Any, y: Any) -> None:
    """y = x / sqrt(|x|^2 + floor^2) for each of N vectors."""
    for n in range(x.shape[0]):
        factor = _inverse_norm(x[n], floor)
        for i in range(x.shape[1]):
            y[n, i] = x[n, i] * factor


@njit(**FAST)
def _add(values: Any, y: Any) -> None:
    """y[n] += values for each of N vectors; nothing where there are no values."""
    for n in range(y.shape[0]):
        for o in range(values.shape[0]):
            y[n, o] += values[o]


@njit(**FAST)
def _gate(gate_up: Any, y: Any) -> None:
    """y = silu(gate) * up for each of N vectors (N, 2 F)."""
    size = y.shape[1]
    for n in range(y.shape[0]):
        for f in range(size):
            g = gate_up[n, f]
            e = _exp(-abs(g))  # so that sigmoid(g) cannot overflow
            sigmoid = np.float32(1) / (np.float32(1) + e)
            y[n, f] = g * (sigmoid if g >= 0 else e * sigmoid) * gate_up[n, size + f]


@njit(**FAST)
def decode(
    weights: Any, scales: Any, biases: Any, out_biases: Any, gains: Any, floors: Any, table: Any,
    slots: Any, positions: Any, rope: Any, x: Any, buffers: Any,
) -> None:  # fmt: skip
    """One new token of each of N sequences through all layers.

    Args:
        weights: qkv (L, (H + 2 K) D, C), out (L, C, H D), gate and up (L, 2 F, C), down (L, C, F),
            head (1, V, C).
        scales: of their rows if they are int8, (L, rows) each; else (L, 0).
        biases: of queries, keys and values (L, (H + 2 K) D), or (L, 0).
        out_biases: of attention's output (L, C), or (L, 0).
        gains: of the norm of queries and keys (L, H + K, D), or (L, 0, D).
        floors: of the norms of x and of queries and keys.
        table: keys and values (L, 2, slots, K, capacity, D).
        slots, positions: of each sequence and its new token (N).
        rope: cosines and sines of the positions (N, 2, D).
        x: the tokens' embeddings (N, C); changed.
        buffers: normalised x (N, C), qkv (N, H + 2 K, D), attention (N, H, D), gate and up
            (N, 2 F), their product (N, F), scores (longest), logits (N, V), which are the result.
    """
    w_qkv, w_out, w_gate_up, w_down, w_head = weights
    s_qkv, s_out, s_gate_up, s_down, s_head = scales
    normal, qkv, attention, gate_up, product, scores, logits = buffers
    flat_qkv = qkv.reshape((x.shape[0], qkv.shape[1] * qkv.shape[2]))
    flat_attention = attention.reshape((x.shape[0], attention.shape[1] * attention.shape[2]))
    for layer in range(table.shape[0]):
        _normalise(x, floors[0], normal)
        _multiply(w_qkv[layer], s_qkv[layer], normal, False, flat_qkv)
        _add(biases[layer], flat_qkv)
        attend_rows(
            qkv, gains[layer], floors[1], rope, table[layer], slots, positions, scores, attention
        )
        _multiply(w_out[layer], s_out[layer], flat_attention, True, x)
        _add(out_biases[layer], x)
        _normalise(x, floors[0], normal)
        _multiply(w_gate_up[layer], s_gate_up[layer], normal, False, gate_up)
        _gate(gate_up, product)
        _multiply(w_down[layer], s_down[layer], product, True, x)
    _normalise(x, floors[0], normal)
    _multiply(w_head[0], s_head[0], normal, False, logits)
