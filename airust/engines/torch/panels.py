"""Matrix products with weights in panels: y = x W^T, a tile of registers at a time.

A panel holds WIDTH rows of a weight matrix side by side, so that one step along the inputs reads
WIDTH neighbours. A tile multiplies up to ROWS vectors by a panel and keeps all their sums in
registers from the first input to the last. The idea is that of every fast library (Goto and van de
Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008); with weights that never change
and at most some hundred vectors, what the libraries do beside it can be left out.

The weights are float32, bfloat16 (their bits in uint16) or int8, the sums are float32.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

FEATURES = llvm.get_host_cpu_features()
# The sums of ROWS vectors, two registers each, leave room for two of weights and one of inputs:
# there are 32 registers of 16 numbers with AVX-512, 16 of 8 with AVX2, 32 of 4 on ARM.
LANES, ROWS = (16, 8) if FEATURES.get("avx512f") else (8, 6) if FEATURES.get("avx2") else (4, 8)
WIDTH = 2 * LANES
UNDER_WAY = 8  # sums in registers that keep both multipliers busy, as each takes four cycles

FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
COUNT = ir.IntType(64)


def panels_of(outputs: int) -> int:
    """How many panels hold so many rows of a weight matrix."""
    return -(-outputs // WIDTH)


def pack(weight: Tensor, panels: Tensor) -> None:
    """Write a matrix (O, I) into panels (panels_of(O), I, WIDTH) that hold zeros."""
    inputs = weight.shape[1]
    whole, rest = divmod(len(weight), WIDTH)
    panels[:whole] = weight[: whole * WIDTH].view(whole, WIDTH, inputs).transpose(1, 2)
    if rest:
        panels[whole, :, :rest] = weight[whole * WIDTH :].T


def _tile(typing: Any, x: Any, panel: Any, y: Any, add: Any) -> Any:
    """y = x W^T, or y += x W^T: R <= ROWS vectors x (R, I), a panel (I, WIDTH), y (R, WIDTH)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, panel, y = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], arguments, strict=False)
        )
        rows, inputs = (builder.extract_value(x.shape, axis) for axis in (0, 1))
        rest = builder.append_basic_block("tile.end")
        choice = builder.switch(rows, rest)
        for count in range(1, ROWS + 1):
            block = builder.append_basic_block(f"tile.{count}")
            choice.add_case(COUNT(count), block)
            builder.position_at_end(block)
            _Tile(builder, x, panel, y, count).emit(inputs, arguments[3])
            builder.branch(rest)
        builder.position_at_end(rest)
        return context.get_dummy_value()

    return types.void(x, panel, y, types.boolean), generate


tile: Any = intrinsic(_tile)


class _Tile:
    """The instructions for one number of vectors."""

    def __init__(self, builder: Any, x: Any, panel: Any, y: Any, rows: int) -> None:
        self.builder, self.panel = builder, panel.data
        self.inputs, self.outputs = (
            [builder.gep(a.data, [builder.mul(COUNT(r), _row(builder, a))]) for r in range(rows)]
            for a in (x, y)
        )
        # With few vectors neighbouring inputs have sums of their own, added in the end.
        self.ways = max(1, UNDER_WAY // (2 * rows))
        self.sums = [
            [[cgutils.alloca_once(builder, VECTOR) for _ in range(2)] for _ in range(rows)]
            for _ in range(self.ways)
        ]

    def emit(self, inputs: Any, add: Any) -> None:
        builder = self.builder
        for pointer in self._all_sums():
            builder.store(VECTOR(None), pointer)
        whole = builder.mul(builder.udiv(inputs, COUNT(self.ways)), COUNT(self.ways))
        with cgutils.for_range_slice(builder, COUNT(0), whole, COUNT(self.ways), COUNT) as (i, _):
            for way in range(self.ways):
                self._multiply(builder.add(i, COUNT(way)), way)
        if self.ways > 1:
            with cgutils.for_range_slice(builder, whole, inputs, COUNT(1), COUNT) as (i, _):
                self._multiply(i, 0)
        for row, output in enumerate(self.outputs):
            for half in range(2):
                total = builder.load(self.sums[0][row][half])
                for way in range(1, self.ways):
                    total = builder.fadd(total, builder.load(self.sums[way][row][half]))
                self._store(total, builder.gep(output, [COUNT(half * LANES)]), add)

    def _all_sums(self) -> list[Any]:
        return [pointer for way in self.sums for row in way for pointer in row]

    def _multiply(self, i: Any, way: int) -> None:
        """Add input i of each vector times its WIDTH weights to the sums."""
        builder = self.builder
        first = builder.mul(i, COUNT(WIDTH))
        weights = [
            self._weights(builder.gep(self.panel, [builder.add(first, COUNT(half * LANES))]))
            for half in range(2)
        ]
        for pointer, sums in zip(self.inputs, self.sums[way], strict=True):
            number = builder.load(builder.gep(pointer, [i]))
            lane = builder.insert_element(VECTOR(ir.Undefined), number, ir.IntType(32)(0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
            spread = builder.shuffle_vector(lane, VECTOR(ir.Undefined), zeros)
            for weight, total in zip(weights, sums, strict=True):
                product = builder.fmul(spread, weight, flags=("contract",))
                added = builder.fadd(builder.load(total), product, flags=("contract",))
                builder.store(added, total)

    def _weights(self, pointer: Any) -> Any:
        """LANES stored weights as float32."""
        builder, stored = self.builder, pointer.type.pointee
        kind = ir.VectorType(stored, LANES)
        loaded = builder.load(builder.bitcast(pointer, kind.as_pointer()), align=1)
        if stored == FLOAT:
            return loaded
        wide = ir.VectorType(ir.IntType(32), LANES)
        if stored == ir.IntType(8):
            return builder.sitofp(builder.sext(loaded, wide), VECTOR)
        shift = ir.Constant(wide, [16] * LANES)  # bfloat16 is the upper half of a float32
        return builder.bitcast(builder.shl(builder.zext(loaded, wide), shift), VECTOR)

    def _store(self, total: Any, pointer: Any, add: Any) -> None:
        builder = self.builder
        pointer = builder.bitcast(pointer, VECTOR.as_pointer())
        with builder.if_else(cgutils.as_bool_bit(builder, add)) as (added, plain):
            with added:
                before = builder.load(pointer, align=4)
                builder.store(builder.fadd(before, total), pointer, align=4)
            with plain:
                builder.store(total, pointer, align=4)


def _row(builder: Any, array: Any) -> Any:
    """The numbers from one row of an array to the next."""
    return builder.udiv(builder.extract_value(array.strides, 0), COUNT(4))
