"""The KV cache of many sequences: a table of slots, one sequence a slot.

The table grows when it is needed, in slots and in positions, so that one short stream does not
pay for many long ones. A slot keeps its tokens when its request has ended. The next request that
begins with the same tokens, such as the next turn of a conversation, goes on from there.

LongRoPE (Phi-3.5) turns the keys of a text otherwise once it is longer than the original context.
A slot knows which way its keys are turned and is reused only by prompts of the same kind; a text
that outgrows the original context is computed anew at that point, as transformers does.

>>> config = GPTConfig(vocab_size=100, layers=2, kv_heads=2, head_dim=64, context=64)
>>> slots = Slots(SlotCache(config), max_slots=2)
>>> slots.acquire([1, 2, 3, 4], positions=8)
(0, 0)
>>> slots.release(0, [1, 2, 3, 4, 5])
>>> slots.acquire([1, 2, 3, 9], positions=8)  # the first three tokens are there already
(0, 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor

from airust.engines.torch.pages import zeros_in_large_pages
from airust.gpt.config import GPTConfig
from airust.types import ContextOverflowError

FIRST_SLOTS = 4
FIRST_POSITIONS = 256
FLOAT32_BYTES = 4
WORTH_COPYING = 16  # tokens; fewer are computed as fast as they are looked up


class SlotCache:
    """One table (layers, 2, slots, K, capacity, D) of keys and values, float32.

    The positions of a head lie side by side: attention reads them in one go, and with many heads
    that is worth more than storing a position in one piece.
    """

    def __init__(
        self,
        config: GPTConfig,
        slots: int = FIRST_SLOTS,
        capacity: int = FIRST_POSITIONS,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config, self.device = config, torch.device(device)
        self.rotary_starts: dict[int, int] = {}  # slot: GPTConfig.rotary_start of its text; else 0
        self._use(self._zeros(slots, min(capacity, config.context)))

    def _zeros(self, slots: int, capacity: int) -> Tensor:
        # Zeros, because a masked position still counts 0 times its value, and 0 * NaN is NaN.
        config = self.config
        shape = (config.layers, 2, slots, config.kv_heads, capacity, config.head_dim)
        if self.device.type == "cpu":
            return zeros_in_large_pages(shape)
        return torch.zeros(shape, device=self.device)

    def _use(self, table: Tensor) -> None:
        self.table = table
        _, _, self.slots, _, self.capacity, _ = table.shape
        self.layers = table.unbind(0)  # each (2, slots, K, capacity, D)

    def size(self, slots: int, capacity: int) -> int:
        """Bytes of a table of this size."""
        numbers = 2 * self.config.layers * self.config.kv_heads * self.config.head_dim
        return slots * capacity * numbers * FLOAT32_BYTES

    def resize(self, slots: int, capacity: int) -> None:
        """Change the size of the table; what fits into the new one is kept."""
        if (slots, capacity) == (self.slots, self.capacity):
            return
        table = self._zeros(slots, capacity)
        n, length = min(slots, self.slots), min(capacity, self.capacity)
        table[:, :, :n, :, :length] = self.table[:, :, :n, :, :length]
        self._use(table)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first positions of one slot to another."""
        self.table[:, :, target, :, :length] = self.table[:, :, source, :, :length]

    def turn(self, slot: int, length: int) -> bool:
        """The slot is for a text of this length; True if that makes its old keys useless.

        LongRoPE turns those of a long text otherwise than those of a short one.
        """
        before = self.rotary_starts.pop(slot, 0)
        if start := self.config.rotary_start(length):
            self.rotary_starts[slot] = start
        return start != before

    def erase(self, slot: int) -> None:
        """Overwrite a slot with zeros."""
        self.table[:, :, slot] = 0


class Slots:
    """Who uses which slot, and which tokens the free ones still hold.

    Args:
        max_slots: requests that run at the same time.
        max_bytes: the table's size at most.
        reuse: keep what ended requests leave.
    """

    def __init__(
        self, cache: SlotCache, max_slots: int, max_bytes: int = 1 << 62, reuse: bool = True
    ) -> None:
        self.cache, self.max_slots, self.max_bytes = cache, max_slots, max_bytes
        self.reuse = reuse
        self.busy: dict[int, int] = {}  # slot: positions reserved for it
        self.tokens: dict[int, list[int]] = {}  # slot: tokens whose keys and values it holds
        self.context = cache.config.context
        # Places that there can be: as many sequences as may run, or as many bytes as are allowed.
        self.total = min(max_slots * self.context, max_bytes // cache.size(1, 1))
        self.reserved = 0  # of them, for the slots in use
        self._released: dict[int, int] = {}  # slot: when
        self._clock = count(1)

    def check(self, positions: int) -> None:
        """Refuse what would not fit even alone.

        Raises:
            ContextOverflowError: says how much would be needed.
        """
        if self.cache.size(1, positions) > self.max_bytes:
            need, have = self.cache.size(1, positions) >> 20, self.max_bytes >> 20
            raise ContextOverflowError(
                f"{positions} positions need {need} MiB of KV cache but the limit is {have} MiB; "
                f"ask for fewer tokens or raise cache_mib."
            )

    def acquire(self, prompt: Sequence[int], positions: int) -> tuple[int, int] | None:
        """A slot with room for the positions, and how many prompt tokens it holds already.

        At least one token of the prompt is left to compute, as its logits are needed. None if
        there is no room until another request ends.
        """
        if len(self.busy) == self.max_slots or not self._make_room(positions):
            return None
        shared = self._shared(prompt)
        best = max(shared, key=shared.__getitem__, default=0)
        length = shared.get(best, 0)
        if best not in self.busy and 2 * length >= max(len(self.tokens.get(best, ())), 1):
            slot = best  # the prompt goes on from what this slot holds
        else:
            slot = self._least_useful()
            length = length if length >= WORTH_COPYING else shared.get(slot, 0)
            if length != shared.get(slot, 0):
                self.cache.copy(best, slot, length)
        self.cache.turn(slot, len(prompt))
        self.busy[slot], self.tokens[slot] = positions, list(prompt[:length])
        self.reserved += positions
        return slot, length

    def catch_up(self, slot: int, prompt: Sequence[int], have: int) -> int:
        """Copy to a slot in use what another holds of its prompt by now, if that is worth it.

        Returns how many prompt tokens the slot holds then; ``have`` is how many it held before.
        """
        shared = self._shared(prompt)
        best = max(shared, key=shared.__getitem__, default=slot)
        if shared.get(best, 0) < have + WORTH_COPYING:
            return have
        self.cache.copy(best, slot, shared[best])
        self.tokens[slot] = list(prompt[: shared[best]])
        return shared[best]

    def _shared(self, prompt: Sequence[int]) -> dict[int, int]:
        """Slots, and with how many tokens of a prompt they begin."""
        start, starts = self.cache.config.rotary_start(len(prompt)), self.cache.rotary_starts
        return {
            slot: common_length(held, prompt)
            for slot, held in self.tokens.items()
            if starts.get(slot, 0) == start
        }

    def hold(self, slot: int, tokens: Sequence[int]) -> None:
        """A slot in use holds these tokens: requests that begin alike may copy them."""
        self.tokens[slot] = list(tokens) if self.reuse else []

    def outgrown(self, slot: int, length: int) -> bool:
        """Whether a text has to be computed anew now that it is so long; see ``turn``."""
        if not self.cache.turn(slot, length):
            return False
        self.tokens[slot] = []
        return True

    def release(self, slot: int, tokens: Sequence[int]) -> None:
        """Free a slot, which from now on holds these tokens until somebody else needs it."""
        self.reserved -= self.busy.pop(slot)
        self.hold(slot, tokens)
        self._released[slot] = next(self._clock) if self.tokens[slot] else 0

    def clear(self) -> None:
        """Forget everything."""
        self.busy.clear()
        self.reserved = 0
        self.tokens.clear()
        self._released.clear()

    def _least_useful(self) -> int:
        """A free slot: one that holds nothing, else the one released longest ago."""
        free = (slot for slot in range(self.cache.slots) if slot not in self.busy)
        return min(free, key=lambda slot: self._released.get(slot, 0))

    def _make_room(self, positions: int) -> bool:
        """Grow the table if need be: generously, or just enough where memory is short."""
        slots, capacity = self.cache.slots, self.cache.capacity
        lowest_free = next(slot for slot in count() if slot not in self.busy)
        longest = max(positions, *self.busy.values(), 0)
        roomy = (
            slots if lowest_free < slots else min(2 * slots, self.max_slots),
            capacity if longest <= capacity else min(max(longest, 2 * capacity), self.context),
        )
        least = max(lowest_free, *self.busy, 0) + 1, longest
        for size in (roomy, least):
            if self.cache.size(*size) <= self.max_bytes:
                self._resize(*size)
                return True
        return False

    def _resize(self, slots: int, capacity: int) -> None:
        self.cache.resize(slots, capacity)
        self.tokens = {s: held[:capacity] for s, held in self.tokens.items() if s < slots}
        self._released = {s: when for s, when in self._released.items() if s < slots}


def common_length(held: Sequence[int], prompt: Sequence[int]) -> int:
    """Tokens that both begin with, the prompt's last one not counted.

    >>> common_length([1, 2, 3], [1, 2, 4, 5]), common_length([1, 2, 3], [1, 2])
    (2, 1)
    """
    limit, block, at = min(len(held), len(prompt) - 1), 32, 0
    while at + block <= limit and held[at : at + block] == prompt[at : at + block]:
        at += block
    return next((i for i in range(at, limit) if held[i] != prompt[i]), limit)
