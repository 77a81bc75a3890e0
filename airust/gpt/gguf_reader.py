"""The bytes of a GGUF file: metadata values, and tensors by name.

Layout, everything little-endian: ``GGUF``, version, number of tensors, number of metadata values;
the values (key, kind, content); the tensors' names, sizes, number formats and offsets; padding; the
tensors. Strings are a length and UTF-8 bytes.

Why not ``gguf.GGUFReader``: it makes several numpy arrays for each token of the vocabulary, 5 s
for Qwen's 151,936. This takes 0.2 s.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, Keys, dequantize

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32  # bytes, unless the file says otherwise
SCALARS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
    GGUFValueType.BOOL: "?",
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor is and what it looks like."""

    shape: tuple[int, ...]  # slowest dimension first, as torch counts
    kind: GGMLQuantizationType
    offset: int  # bytes from the start of the file

    @property
    def row_bytes(self) -> int:
        """Bytes of one row: of the last dimension."""
        block, size = GGML_QUANT_SIZES[self.kind]
        if self.shape[-1] % block:
            raise ValueError(f"a row of {self.shape[-1]} numbers is no multiple of {block}")
        return self.shape[-1] // block * size


class GGUFFile:
    """An open file.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not a GGUF file of a known version, or is truncated.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        cursor = _Cursor(self._data)
        if cursor.take(4) != MAGIC or cursor.number("I") not in VERSIONS:
            raise ValueError("not a GGUF file of version 2 or 3")
        tensors, values = cursor.number("Q"), cursor.number("Q")
        self.values: dict[str, Any] = dict(cursor.pair() for _ in range(values))
        entries = [cursor.tensor() for _ in range(tensors)]
        step = int(self.values.get(Keys.General.ALIGNMENT, ALIGNMENT))
        start = math.ceil(cursor.at / step) * step
        self.tensors = {n: StoredTensor(s, k, start + offset) for n, s, k, offset in entries}
        for tensor in self.tensors.values():
            if tensor.offset + _size(tensor) > len(self._data):
                raise ValueError("the file ends before its tensors")

    def floats(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor as float32, whatever it is stored in; a copy.

        Raises:
            NotImplementedError: the number format is one that ``gguf`` cannot read.
        """
        tensor = self.tensors[name]
        shape = (*tensor.shape[:-1], tensor.row_bytes)
        raw = np.frombuffer(self._data, np.uint8, _size(tensor), tensor.offset).reshape(shape)
        return np.array(dequantize(raw, tensor.kind), dtype=np.float32)


def _size(tensor: StoredTensor) -> int:
    return math.prod(tensor.shape[:-1]) * tensor.row_bytes


class _Cursor:
    """Reads one thing after the other; a thing that reaches behind the end is a ValueError."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.at = data, 0

    def take(self, count: int) -> bytes:
        taken = self._data[self.at : self.at + count]
        if len(taken) != count:
            raise ValueError("the file ends early")
        self.at += count
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8")

    def pair(self) -> tuple[str, Any]:
        return self.text(), self.value(GGUFValueType(self.number("I")))

    def value(self, kind: GGUFValueType) -> Any:
        if kind == GGUFValueType.STRING:
            return self.text()
        if kind == GGUFValueType.ARRAY:
            return self.array(GGUFValueType(self.number("I")), self.number("Q"))
        return self.number(SCALARS[kind])

    def array(self, kind: GGUFValueType, count: int) -> list[Any]:
        if kind not in SCALARS:
            return [self.value(kind) for _ in range(count)]
        size = struct.calcsize("<" + SCALARS[kind])
        return list(struct.unpack(f"<{count}{SCALARS[kind]}", self.take(count * size)))

    def tensor(self) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
        name = self.text()
        sizes = [self.number("Q") for _ in range(self.number("I"))]
        kind = GGMLQuantizationType(self.number("I"))
        return name, tuple(reversed(sizes)), kind, self.number("Q")
