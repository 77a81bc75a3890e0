"""Who gets which slot, what is reused, and how the table grows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from airust.engines.torch.slots import SlotCache, Slots
from airust.gpt.config import GPTConfig, RopeScaling
from airust.types import ContextOverflowError

CONFIG = GPTConfig(
    vocab_size=9, hidden_size=8, layers=2, heads=2, kv_heads=2, head_dim=4, ffn_size=8,
    context=1000,
)  # fmt: skip
POSITION_BYTES = 2 * 2 * 2 * 4 * 4


def slots(max_slots: int = 4, table: tuple[int, int] = (4, 64), max_bytes: int = 1 << 30) -> Slots:
    cache = SlotCache(CONFIG, *table)
    return Slots(cache, max_slots, max_bytes)


def fill(cache: SlotCache) -> None:
    cache.table.copy_(torch.arange(cache.table.numel()).view_as(cache.table))


def test_the_next_turn_goes_on_in_the_same_slot() -> None:
    pool = slots()
    first = list(range(50))
    assert pool.acquire(first, 60) == (0, 0)
    pool.release(0, [*first, 7, 8])
    assert pool.acquire([*first, 7, 8, 9, 1], 60) == (0, 52)


def test_one_token_is_always_left_to_compute() -> None:
    pool = slots()
    pool.acquire([1, 2, 3], 10)
    pool.release(0, [1, 2, 3])
    assert pool.acquire([1, 2, 3], 10) == (0, 2)


def test_a_shared_beginning_is_copied_and_the_rest_is_kept() -> None:
    """Two conversations with the same system prompt: neither destroys the other."""
    pool = slots()
    fill(pool.cache)
    system = list(range(20))
    pool.acquire([*system, *[1] * 100], 150)
    pool.release(0, [*system, *[1] * 100])
    assert pool.acquire([*system, *[2] * 100], 150) == (1, 20)
    table = pool.cache.table
    assert torch.equal(table[:, :, 0, :, :20], table[:, :, 1, :, :20])
    assert not torch.equal(table[:, :, 0, :, 20:], table[:, :, 1, :, 20:])
    pool.release(1, [*system, *[2] * 100])
    assert pool.acquire([*system, *[1] * 101], 150) == (0, 120)


def test_a_beginning_is_copied_from_a_slot_in_use() -> None:
    pool = slots()
    system = list(range(20))
    pool.acquire([*system, 5], 50)
    assert pool.acquire([*system, 6], 50) == (1, 0)  # nothing is computed yet
    pool.hold(0, [*system, 5])
    assert pool.acquire([*system, 7], 50) == (2, 20)


def test_few_tokens_are_not_worth_a_copy() -> None:
    pool = slots()
    pool.acquire([1, 2, 3, *[4] * 50], 60)
    pool.release(0, [1, 2, 3, *[4] * 50])
    assert pool.acquire([1, 2, 3, *[5] * 50], 60) == (1, 0)


def test_the_slot_released_longest_ago_is_given_up_first() -> None:
    pool = slots(max_slots=2, table=(2, 64))
    for first in (10, 20):
        pool.acquire([first] * 30, 40)
    pool.release(1, [20] * 30)
    pool.release(0, [10] * 30)
    assert pool.acquire([30] * 30, 40) == (1, 0)


def test_without_reuse_nothing_is_found() -> None:
    pool = Slots(SlotCache(CONFIG), 4, reuse=False)
    pool.acquire([1] * 30, 40)
    pool.release(0, [1] * 30)
    assert pool.acquire([1] * 30, 40) == (0, 0)


def test_growing_keeps_what_is_there() -> None:
    pool = slots(max_slots=3, table=(1, 16))
    fill(pool.cache)
    before = pool.cache.table.clone()
    assert pool.acquire([1] * 10, 16) == (0, 0)
    assert pool.acquire([2] * 10, 20) == (1, 0)
    assert (pool.cache.slots, pool.cache.capacity) == (2, 32)
    assert pool.acquire([3] * 10, 400) == (2, 0)
    assert (pool.cache.slots, pool.cache.capacity) == (3, 400)
    assert torch.equal(pool.cache.table[:, :, :1, :, :16], before)
    assert pool.acquire([4] * 10, 20) is None  # all slots are in use
    pool.release(1, [2] * 10)
    assert pool.acquire([4] * 10, 20) == (1, 0)


def test_a_table_never_outgrows_the_context() -> None:
    pool = slots(table=(1, 600))
    pool.acquire([1], 700)
    assert pool.cache.capacity == 1000


def test_where_memory_is_short_requests_wait() -> None:
    pool = slots(max_slots=8, table=(2, 64), max_bytes=300 * POSITION_BYTES)
    with pytest.raises(ContextOverflowError, match=r"301 positions .* cache_mib"):
        pool.check(301)
    pool.check(300)
    assert pool.acquire([1] * 20, 100) == (0, 0)
    pool.hold(0, [1] * 20)
    assert pool.acquire([2] * 20, 100) == (1, 0)
    assert pool.acquire([3] * 20, 101) is None
    assert pool.acquire([3] * 20, 100) == (2, 0)  # the third hundred, and nothing over
    for slot in (0, 1, 2):
        pool.release(slot, [slot + 1] * 90)
    assert pool.acquire([1] * 100, 300) == (0, 90)  # in a table of one long slot
    assert (pool.cache.slots, pool.cache.capacity) == (1, 300)


def test_a_table_that_cannot_be_allocated_changes_nothing() -> None:
    pool = slots(table=(2, 64))

    def no_memory(slots: int, capacity: int) -> torch.Tensor:
        raise RuntimeError("can't allocate memory")

    pool.cache._zeros = no_memory  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="allocate"):
        pool.acquire([1], 65)
    assert (pool.cache.slots, pool.cache.capacity, pool.busy) == (2, 64, {})
    assert pool.acquire([1], 64) == (0, 0)


LONGROPE = RopeScaling(
    "longrope", original_context=30, short_factors=(1.0, 2.0), long_factors=(3.0, 4.0)
)


def test_short_and_long_texts_of_longrope_share_nothing() -> None:
    cache = SlotCache(replace(CONFIG, rope_scaling=LONGROPE), 4, 64)
    pool, text = Slots(cache, 4), list(range(60))
    assert pool.acquire(text[:30], 60) == (0, 0)
    pool.hold(0, text[:30])
    assert pool.acquire([*text[:29], 99], 60) == (1, 29)  # also short
    assert pool.acquire(text[:31], 60) == (2, 0)  # long
    assert not pool.outgrown(0, 30)
    assert pool.outgrown(0, 31)  # what it held is of no use to anybody, and not yet replaced
    assert not pool.outgrown(0, 32)
    assert pool.acquire(text[:40], 60) == (3, 0)
    for slot in (1, 2, 3):
        pool.release(slot, [])
    pool.release(0, text[:50])
    assert pool.acquire(text[:25], 60)[1] == 0
    assert pool.acquire(text, 60) == (0, 50)
