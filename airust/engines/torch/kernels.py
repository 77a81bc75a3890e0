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

FAST: dict[str, Any] = {"nogil": True, "fastmath": True, "cache": True, "error_model": "numpy"}
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
        return _float_of_bits(np.uint32(stored) << np.uint32(16))

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
    return p * _float_of_bits(np.uint32(np.int32(n) + np.int32(127)) << np.uint32(23))


@njit(inline="always", **FAST)
def _inverse_norm(x: Any, floor: Any) -> Any:
    """1 / sqrt(|x|^2 + floor^2); RMSNorm without its gain and the factor sqrt(C)."""
    total = np.float32(0)
    for i in range(x.shape[0]):
        total += x[i] * x[i]
    return np.float32(1) / np.sqrt(total + floor * floor)


@njit(**FAST)
def _turn(head: Any, gain: Any, floor: Any, cos: Any, sin: Any) -> None:
    """Normalise (where there is a gain) and rotate one head's query or key, in place."""
    half = head.shape[0] // 2
    factor = np.float32(1)
    if gain.shape[0] > 0:
        factor = _inverse_norm(head, floor)
        for i in range(head.shape[0]):
            head[i] *= factor * gain[i]
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
def attend_row(
    qkv: Any,
    gains: Any,
    floor: Any,
    rope: Any,
    keys: Any,
    values: Any,
    position: int,
    first: int,
    last: int,
    scores: Any,
    out: Any,
) -> None:
    """One sequence's new token: store its key and value, and attend.

    Args:
        qkv: the projections of all heads (H + 2 K, D); queries and keys are turned in place.
        gains: of the norm of queries and keys (H + K, D); (0, 0) where there is none.
        rope: cosines and sines of the position (2, D).
        keys, values: the sequence's slot (K, capacity, D).
        first, last: the key and value heads to work on, each with its group of queries.
        scores: room for as many numbers as the capacity.
        out: (H, D).
    """
    kv_heads = keys.shape[0]
    heads = qkv.shape[0] - 2 * kv_heads
    group = heads // kv_heads
    none = gains[:0].reshape(-1)
    for k in range(first, last):
        row = heads + k
        _turn(qkv[row], gains[row] if gains.shape[0] else none, floor, rope[0], rope[1])
        keys[k, position] = qkv[row]
        values[k, position] = qkv[row + kv_heads]
        for h in range(k * group, (k + 1) * group):
            _turn(qkv[h], gains[h] if gains.shape[0] else none, floor, rope[0], rope[1])
            _attend(qkv[h], keys[k], values[k], position + 1, scores, out[h])


@njit(**FAST)
def attend_rows(
    qkv: Any, gains: Any, floor: Any, rope: Any, table: Any, slots: Any, positions: Any,
    scores: Any, out: Any,
) -> None:  # fmt: skip
    """``attend_row`` for N sequences: qkv (N, H + 2 K, D), rope (N, 2, D), table of one layer
    (2, slots, K, capacity, D), slots and positions (N), out (N, H, D)."""
    for n in range(qkv.shape[0]):
        keys, values = table[0, slots[n]], table[1, slots[n]]
        attend_row(
            qkv[n], gains, floor, rope[n], keys, values, positions[n], 0, keys.shape[0], scores,
            out[n],
        )  # fmt: skip


@intrinsic
def _add_atomic(typing: Any, cells: Any, index: Any, amount: Any) -> Any:
    """cells[index] += amount for int64 cells, seen by all threads in one order; the old value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.atomic_rmw("add", place, arguments[2], "seq_cst")

    return types.int64(cells, types.int64, types.int64), generate


ARRIVED, ROUND = 0, 1  # cells of a barrier


@njit(**FAST)
def _meet(cells: Any, threads: int) -> None:
    """Wait until all threads are here: what each has written before, all can read afterwards."""
    if threads == 1:
        return
    now = _add_atomic(cells, ROUND, 0)
    if _add_atomic(cells, ARRIVED, 1) == threads - 1:
        _add_atomic(cells, ARRIVED, -threads)
        _add_atomic(cells, ROUND, 1)
        return
    while _add_atomic(cells, ROUND, 0) == now:
        pass


@njit(**FAST)
def _share(count: int, thread: int, threads: int) -> Any:
    """The part of ``count`` things that is this thread's: first and last + 1."""
    return count * thread // threads, count * (thread + 1) // threads


@njit(**FAST)
def _multiply(
    weights: Any, scales: Any, x: Any, first: int, last: int, add: bool, y: Any
) -> None:  # fmt: skip
    """Rows first to last of y = W x, or of y += W x, for each of N vectors.

    Args:
        weights: (O, I).
        scales: of the rows of int8 weights (O); empty for others.
        x: (N, I).
        y: (N, O).
    """
    for o in range(first, last):
        row = weights[o]
        scale = scales[o] if scales.shape[0] else np.float32(1)
        n = 0
        while n + 2 <= x.shape[0]:  # a row is read once for two
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
def decode(
    thread: int, threads: int, cells: Any, weights: Any, scales: Any, biases: Any, gains: Any,
    floors: Any, table: Any, slots: Any, positions: Any, rope: Any, x: Any, buffers: Any,
) -> None:  # fmt: skip
    """One new token of each of N sequences through all layers, by one of several threads.

    All threads call this with the same arrays; each computes its share of the rows of every
    matrix, and they meet where one needs what the others have computed.

    Args:
        cells: two int64, 0 at first.
        weights: qkv (L, (H + 2 K) D, C), out (L, C, H D), gate and up (L, 2 F, C), down (L, C, F),
            head (1, V, C).
        scales: of their rows if they are int8, (L, rows) each; else (L, 0).
        biases: of queries, keys and values (L, (H + 2 K) D), or (L, 0).
        gains: of the norm of queries and keys (L, H + K, D), or (L, 0, 0).
        floors: of the norms of x and of queries and keys.
        table: keys and values (L, 2, slots, K, capacity, D).
        slots, positions: of each sequence and its new token (N).
        rope: cosines and sines of the positions (N, 2, D).
        x: the tokens' embeddings (N, C); changed.
        buffers: normalised x of each thread (threads, N, C), qkv (N, H + 2 K, D), attention
            (N, H, D), gate and up (N, 2 F), their product (N, F), scores (threads, capacity),
            logits (N, V), which are the result.
    """
    w_qkv, w_out, w_gate_up, w_down, w_head = weights
    s_qkv, s_out, s_gate_up, s_down, s_head = scales
    normal, qkv, attention, gate_up, product, scores, logits = buffers
    N, layers, kv_heads, F = x.shape[0], table.shape[0], table.shape[3], product.shape[1]
    mine = normal[thread]
    flat_qkv = qkv.reshape((N, qkv.shape[1] * qkv.shape[2]))
    flat_attention = attention.reshape((N, attention.shape[1] * attention.shape[2]))
    for layer in range(layers):
        _normalise(x, floors[0], mine)
        first, last = _share(flat_qkv.shape[1], thread, threads)
        _multiply(w_qkv[layer], s_qkv[layer], mine, first, last, False, flat_qkv)
        if biases.shape[1]:
            for n in range(N):
                for o in range(first, last):
                    flat_qkv[n, o] += biases[layer, o]
        _meet(cells, threads)
        first, last = _share(N * kv_heads, thread, threads)
        for item in range(first, last):
            n, k = item // kv_heads, item % kv_heads
            attend_row(
                qkv[n], gains[layer], floors[1], rope[n], table[layer, 0, slots[n]],
                table[layer, 1, slots[n]], positions[n], k, k + 1, scores[thread], attention[n],
            )  # fmt: skip
        _meet(cells, threads)
        first, last = _share(x.shape[1], thread, threads)
        _multiply(w_out[layer], s_out[layer], flat_attention, first, last, True, x)
        _meet(cells, threads)
        _normalise(x, floors[0], mine)
        first, last = _share(F, thread, threads)
        _multiply(w_gate_up[layer], s_gate_up[layer], mine, first, last, False, gate_up)
        _multiply(w_gate_up[layer], s_gate_up[layer], mine, F + first, F + last, False, gate_up)
        for n in range(N):
            for f in range(first, last):
                g = gate_up[n, f]
                e = _exp(-abs(g))  # sigmoid(g) without overflow
                sigmoid = np.float32(1) / (np.float32(1) + e)
                product[n, f] = g * (sigmoid if g >= 0 else e * sigmoid) * gate_up[n, F + f]
        _meet(cells, threads)
        first, last = _share(x.shape[1], thread, threads)
        _multiply(w_down[layer], s_down[layer], product, first, last, True, x)
        _meet(cells, threads)
    _normalise(x, floors[0], mine)
    first, last = _share(logits.shape[1], thread, threads)
    _multiply(w_head[0], s_head[0], mine, first, last, False, logits)
    _meet(cells, threads)
