"""Loops that PyTorch has no single operation for, compiled to machine code by Numba.

A decode step of one sequence does little work per operation: reading the weights of a small model
takes a tenth of a millisecond, starting a hundred tensor operations several times as long. Here
the whole step is one function, which several threads can go through together (``team``). Attention
of many sequences with one new token each, every one with its own length, is another: PyTorch's
kernel starts a matrix product for each head of each of them.

Numba compiles at the first call and keeps the result on disk. All functions release the GIL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from airust.engines.torch.panels import ROWS, WIDTH, tile
from airust.engines.torch.team import finish, take, wait

# Sums may be added in another order, which is what vectors need; NaN and infinity stay themselves,
# because they tell that a model's weights are damaged.
FAST: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
LOG2E = np.float32(1.4426950408889634)
QUERIES = 128  # rows of a prompt that attend together
BLOCK = 8 * ROWS  # vectors that one thread multiplies by a panel before it takes another item


@intrinsic
def _float_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 with these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


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
def _softmax(scores: Any, scale: Any, length: int) -> Any:
    """e^(scale (score - largest)) of the first scores, in place; their sum."""
    largest = scores[0]
    for s in range(length):
        largest = max(largest, scores[s])
    total = np.float32(0)
    for s in range(length):
        scores[s] = _exp((scores[s] - largest) * scale)
        total += scores[s]
    return total


@njit(**FAST)
def _attend(query: Any, keys: Any, values: Any, length: int, scores: Any, out: Any) -> None:
    """softmax(q K^T / sqrt(D)) V over the first positions of keys and values (S, D)."""
    size = query.shape[0]
    for s in range(length):
        key, total = keys[s], np.float32(0)
        for i in range(size):
            total += query[i] * key[i]
        scores[s] = total
    total = _softmax(scores, np.float32(1) / np.sqrt(np.float32(size)), length)
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
def _place(
    row: Any, heads: int, biases: Any, gains: Any, floor: Any, rope: Any, keys: Any, values: Any
) -> None:  # fmt: skip
    """Add biases to a token's projections (H + 2 K, D), turn queries and keys, store the latter.

    Args:
        heads: H.
        keys, values: of the token's place in the cache (K, D).
    """
    kv_heads = keys.shape[0]
    for h in range(biases.shape[0]):
        row[h] += biases[h]
    for h in range(heads + kv_heads):
        _turn(row[h], gains[h : h + 1], floor, rope[0], rope[1])
    for k in range(kv_heads):
        keys[k] = row[heads + k]
        values[k] = row[heads + kv_heads + k]


@njit(**FAST)
def _attend_block(
    qkv: Any, start: int, heads: Any, keys: Any, values: Any, room: Any, out: Any
) -> None:
    """A block of a prompt's rows, and the query heads that share keys and values.

    Args:
        qkv: projections of the rows (R, H + 2 K, D).
        start: position of the first row, which sees itself and all before it.
        heads: the first query head, and the one after the last.
        keys, values: (capacity, D), of which the first start + R positions are seen.
        room: for keys and values in panels, scores and results.
        out: (R, H, D).
    """
    rows, size, length = qkv.shape[0], keys.shape[1], start + qkv.shape[0]
    key_panels, value_panels, scores, result = room
    scale = np.float32(1) / np.sqrt(np.float32(size))
    wide = (length + WIDTH - 1) // WIDTH  # panels of keys
    for p in range(wide):
        panel = key_panels[p]
        for s in range(p * WIDTH, min((p + 1) * WIDTH, length)):
            for i in range(size):
                panel[i, s - p * WIDTH] = keys[s, i]
    for p in range(value_panels.shape[0]):
        first = p * WIDTH
        for s in range(length):
            for i in range(first, min(first + WIDTH, size)):
                value_panels[p, s, i - first] = values[s, i]
    for h in range(heads[0], heads[1]):
        for n in range(0, rows, ROWS):
            end = min(n + ROWS, rows)
            seen = start + end
            for p in range((seen + WIDTH - 1) // WIDTH):
                columns = scores[: end - n, p * WIDTH : (p + 1) * WIDTH]
                tile(qkv[n:end, h], key_panels[p], columns, False)
            for r in range(end - n):
                own = start + n + r + 1
                factor = np.float32(1) / _softmax(scores[r], scale, own)
                for s in range(own):
                    scores[r, s] *= factor
                for s in range(own, seen):
                    scores[r, s] = np.float32(0)
            for p in range(value_panels.shape[0]):
                first = p * WIDTH
                tile(scores[: end - n, :seen], value_panels[p, :seen], result[: end - n], False)
                for r in range(end - n):
                    for i in range(first, min(first + WIDTH, size)):
                        out[n + r, h, i] = result[r, i - first]


@njit(**FAST)
def attend(
    qkv: Any, biases: Any, gains: Any, floor: Any, rope: Any, table: Any, slots: Any,
    positions: Any, singles: int, blocks: Any, longest: int, out: Any, counters: Any, me: int,
    phase: int,
) -> Any:  # fmt: skip
    """Attention of all N tokens of a step to what their sequences hold, themselves included.

    Args:
        qkv: the projections of all heads (N, H + 2 K, D); changed in place.
        biases: to add to them (H + 2 K, D), or (0, D).
        gains: of the norm of queries and keys (H + K, D), or (0, D).
        floor: of that norm.
        rope: cosines and sines of the positions (N, 2, D).
        table: keys and values of one layer (2, slots, K, capacity, D), where theirs are stored.
        slots, positions: of each token (N).
        singles: the first rows, sequences with one new token each.
        blocks: of the other rows, neighbours in one sequence (B, 2): the first and how many.
        longest: positions that the longest sequence has.
        out: (N, H, D).
        counters, me, phase: of the threads that share the work, and of this one.

    Returns:
        The next phase.
    """
    heads, kv_heads, size = out.shape[1], table.shape[2], table.shape[4]
    group = heads // kv_heads
    items = qkv.shape[0]
    item = take(counters, phase, items, me)
    while item < items:
        place = positions[item]
        keys, values = table[0, slots[item], :, place], table[1, slots[item], :, place]
        _place(qkv[item], heads, biases, gains, floor, rope[item], keys, values)
        finish(counters, phase)
        item = take(counters, phase, items, me)
    wait(counters, phase, items)
    phase += 1
    # Blocks first: they take longer.
    items = (len(blocks) + singles) * kv_heads
    alone = np.empty(longest, np.float32)
    panels = (longest + WIDTH - 1) // WIDTH if len(blocks) else 0
    room = (
        np.zeros((panels, size, WIDTH), np.float32),
        np.zeros(((size + WIDTH - 1) // WIDTH, panels * WIDTH, WIDTH), np.float32),
        np.empty((ROWS, panels * WIDTH), np.float32),
        np.empty((ROWS, WIDTH), np.float32),
    )
    item = take(counters, phase, items, me)
    while item < items:
        k, which = item % kv_heads, item // kv_heads
        if which < len(blocks):
            n, count = blocks[which, 0], blocks[which, 1]
            keys, values = table[0, slots[n], k], table[1, slots[n], k]
            span = (k * group, (k + 1) * group)
            rows = slice(n, n + count)
            _attend_block(qkv[rows], positions[n], span, keys, values, room, out[rows])
        else:
            n = which - len(blocks)
            keys, values = table[0, slots[n], k], table[1, slots[n], k]
            for h in range(k * group, (k + 1) * group):
                _attend(qkv[n, h], keys, values, positions[n] + 1, alone, out[n, h])
        finish(counters, phase)
        item = take(counters, phase, items, me)
    wait(counters, phase, items)
    return phase + 1


@njit(**FAST)
def multiply(
    panels: Any, scales: Any, x: Any, add: bool, y: Any, counters: Any, me: int, phase: int
) -> Any:
    """y = x W^T, or y += x W^T, for N vectors.

    Args:
        panels: the weights (ceil(O / WIDTH), I, WIDTH).
        scales: of the rows of int8 weights (O); empty for others.
        x: (N, I).
        y: (N, O).
        counters, me, phase: of the threads that share the work, and of this one.

    Returns:
        The next phase.
    """
    count, outputs = y.shape
    blocks = (count + BLOCK - 1) // BLOCK
    items = panels.shape[0] * blocks
    scratch = np.empty((ROWS, WIDTH), np.float32)
    item = take(counters, phase, items, me)
    while item < items:
        panel, start = panels[item // blocks], item % blocks * BLOCK
        first = item // blocks * WIDTH
        columns = min(WIDTH, outputs - first)
        for n in range(start, min(start + BLOCK, count), ROWS):
            end = min(n + ROWS, count)
            if columns == WIDTH and not scales.shape[0]:
                tile(x[n:end], panel, y[n:end, first : first + WIDTH], add)
                continue
            tile(x[n:end], panel, scratch[: end - n], False)
            for r in range(end - n):
                for c in range(columns):
                    o = first + c
                    value = scratch[r, c] * (scales[o] if scales.shape[0] else np.float32(1))
                    y[n + r, o] = value + y[n + r, o] if add else value
        finish(counters, phase)
        item = take(counters, phase, items, me)
    wait(counters, phase, items)
    return phase + 1


@njit(**FAST)
def _normalise(
    x: Any, rows: Any, biases: Any, floor: Any, y: Any, counters: Any, me: int, phase: int
) -> Any:  # fmt: skip
    """y = row / sqrt(|row|^2 + floor^2) of chosen rows of x; biases (C) are added to them first."""
    items = len(rows)
    item = take(counters, phase, items, me)
    while item < items:
        row = x[rows[item]]
        for i in range(biases.shape[0]):
            row[i] += biases[i]
        factor = _inverse_norm(row, floor)
        for i in range(row.shape[0]):
            y[item, i] = row[i] * factor
        finish(counters, phase)
        item = take(counters, phase, items, me)
    wait(counters, phase, items)
    return phase + 1


@njit(**FAST)
def _gate(gate_up: Any, y: Any, counters: Any, me: int, phase: int) -> Any:
    """y = silu(gate) * up for each of N vectors (N, 2 F)."""
    size = y.shape[1]
    items = y.shape[0]
    item = take(counters, phase, items, me)
    while item < items:
        for f in range(size):
            g = gate_up[item, f]
            e = _exp(-abs(g))  # so that sigmoid(g) cannot overflow
            sigmoid = np.float32(1) / (np.float32(1) + e)
            y[item, f] = g * (sigmoid if g >= 0 else e * sigmoid) * gate_up[item, size + f]
        finish(counters, phase)
        item = take(counters, phase, items, me)
    wait(counters, phase, items)
    return phase + 1


LAYER_PHASES, LAST_PHASES = 9, 2


@njit(**FAST)
def run(
    weights: Any, scales: Any, biases: Any, out_biases: Any, gains: Any, floors: Any, table: Any,
    slots: Any, positions: Any, singles: int, blocks: Any, longest: int, outputs: Any, rope: Any,
    x: Any, buffers: Any, counters: Any, me: int,
) -> None:  # fmt: skip
    """The N new tokens of a step through all layers.

    Args:
        weights: panels of qkv ((H + 2 K) D rows of C), out (C of H D), gate and up (2 F of C),
            down (C of F), each (L, panels, inputs, WIDTH), and head (1, panels, C, WIDTH).
        scales: of their rows if they are int8, (L, rows) each; else (L, 0).
        biases: of queries, keys and values (L, H + 2 K, D), or (L, 0, D).
        out_biases: of attention's output (L, C), or (L, 0).
        gains: of the norm of queries and keys (L, H + K, D), or (L, 0, D).
        floors: of the norms of x and of queries and keys.
        table: keys and values (L, 2, slots, K, capacity, D).
        slots, positions, singles, blocks, longest: as for ``attend``.
        outputs: the rows whose logits are wanted (M).
        rope: cosines and sines of the positions (N, 2, D).
        x: the tokens' embeddings (N, C); changed.
        buffers: normalised x (N, C), qkv (N, H + 2 K, D), attention (N, H, D), gate and up
            (N, 2 F), their product (N, F), logits (M, V), which are the result.
        counters, me: of the threads that go through the step together, and of this one.
    """
    w_qkv, w_out, w_gate_up, w_down, w_head = weights
    s_qkv, s_out, s_gate_up, s_down, s_head = scales
    normal, qkv, attention, gate_up, product, logits = buffers
    flat_qkv = qkv.reshape((x.shape[0], qkv.shape[1] * qkv.shape[2]))
    flat_attention = attention.reshape((x.shape[0], attention.shape[1] * attention.shape[2]))
    every, none, phase = np.arange(x.shape[0]), out_biases[0, :0], 0
    for i in range(table.shape[0]):
        phase = _normalise(x, every, none, floors[0], normal, counters, me, phase)
        phase = multiply(w_qkv[i], s_qkv[i], normal, False, flat_qkv, counters, me, phase)
        phase = attend(
            qkv, biases[i], gains[i], floors[1], rope, table[i], slots, positions, singles, blocks,
            longest, attention, counters, me, phase,
        )  # fmt: skip
        phase = multiply(w_out[i], s_out[i], flat_attention, True, x, counters, me, phase)
        phase = _normalise(x, every, out_biases[i], floors[0], normal, counters, me, phase)
        phase = multiply(w_gate_up[i], s_gate_up[i], normal, False, gate_up, counters, me, phase)
        phase = _gate(gate_up, product, counters, me, phase)
        phase = multiply(w_down[i], s_down[i], product, True, x, counters, me, phase)
    chosen = normal[: len(outputs)]
    phase = _normalise(x, outputs, none, floors[0], chosen, counters, me, phase)
    multiply(w_head[0], s_head[0], chosen, False, logits, counters, me, phase)
