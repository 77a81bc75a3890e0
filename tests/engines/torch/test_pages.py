"""Tensors in large pages."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest
import torch

from airust.engines.torch.pages import zeros_in_large_pages


def test_parts_outlive_the_whole() -> None:
    whole = zeros_in_large_pages((2, 3, 1000))
    parts = whole.unbind(0)
    whole[1, 2] = 5
    del whole
    assert parts[0].sum() == 0
    assert torch.equal(parts[1][2], torch.full((1000,), 5.0))


def test_without_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert torch.equal(zeros_in_large_pages((2, 3)), torch.zeros(2, 3))
    assert zeros_in_large_pages((2, 0)).shape == (2, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's map of the memory")
def test_the_memory_is_private() -> None:
    """Linux gives large pages to private memory; shared memory has a switch of its own."""
    kept = zeros_in_large_pages((1 << 20,))
    place = kept.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        if start <= place < end:
            assert line.split()[1] == "rw-p"
            return
    raise AssertionError("there is no such memory")
