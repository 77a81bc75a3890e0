"""Packing, masking, and the sources of batches."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from airust.gpt.checkpoint import load_model
from airust.gpt.data import (
    IGNORE,
    PackedSource,
    StagedSource,
    StreamSource,
    TokenDocument,
    chat_document,
    collate,
    pack,
)
from airust.gpt.model import GPT
from airust.gpt.tokenizer import Tokenizer
from airust.types import Message, UserError


def document(size: int, first: int = 3) -> TokenDocument:
    return TokenDocument(list(range(first, first + size)), [True] * size)


def test_packing_loses_no_prediction() -> None:
    documents = [document(n) for n in (3, 70, 12, 64, 1, 33)]
    rows = list(pack(documents, 32))
    assert all(sum(len(d.ids) for d in row) <= 33 for row in rows)
    predicted = sorted(i for row in rows for d in row for i in d.ids[1:])
    assert predicted == sorted(i for d in documents for i in d.ids[1:])


def test_only_the_assistants_words_are_learned(model_dir: Path) -> None:
    tokenizer = Tokenizer.load(model_dir)
    turns = [Message("user", "rain?"), Message("assistant", "drops"), Message("user", "why"),
             Message("assistant", "heavy")]  # fmt: skip
    doc = chat_document(tokenizer, turns)
    learned = [i for i, yes in zip(doc.ids, doc.learned, strict=True) if yes]
    end = [tokenizer.turn_end]
    assert learned == tokenizer.encode("drops") + end + tokenizer.encode("heavy") + end
    assert doc.ids == [i for t in turns for i in tokenizer.encode_turn(t.role, t.content)]


def test_packed_documents_do_not_see_each_other(model_dir: Path) -> None:
    model: GPT = load_model(model_dir)
    together = collate([[document(7), document(9, 20)]], 20, 0, 0)
    alone = collate([[document(9, 20)]], 20, 0, 0)
    packed = model(together.inputs, together.mask)[0, 7:15]
    single = model(alone.inputs, alone.mask)[0, :8]
    torch.testing.assert_close(packed, single, atol=1e-4, rtol=1e-4)
    assert together.targets[0, 6] == IGNORE  # the last of one does not predict the next


def test_a_packed_source_starts_anywhere() -> None:
    def documents(epoch: int) -> list[TokenDocument]:
        return [document(5 + (i + epoch) % 7) for i in range(40)]

    source = PackedSource(documents, 3, 16, 0, "hash")
    ten = list(islice(source.batches(0), 10))
    later = list(islice(source.batches(6), 4))
    for a, b in zip(ten[6:], later, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
        assert a.epoch == b.epoch


def test_a_stream_source_starts_anywhere_and_refuses_short_texts() -> None:
    source = StreamSource(np.arange(500, dtype=np.uint16), 4, 16, seed=1)
    all_, later = list(islice(source.batches(0), 5)), list(islice(source.batches(3), 2))
    assert torch.equal(all_[3].inputs, later[0].inputs)
    assert torch.equal(all_[0].inputs + 1, all_[0].targets)
    with pytest.raises(UserError, match="500 tokens"):
        StreamSource(np.arange(500, dtype=np.uint16), 4, 500, seed=1)


def test_stages_switch_at_the_given_batch() -> None:
    first = StreamSource(np.zeros(99, dtype=np.uint16), 1, 8, 0)
    second = StreamSource(np.ones(99, dtype=np.uint16), 1, 8, 0)
    staged = StagedSource(first, second, 3)
    assert [int(b.inputs[0, 0]) for b in islice(staged.batches(0), 5)] == [0, 0, 0, 1, 1]
    assert [int(b.inputs[0, 0]) for b in islice(staged.batches(2), 3)] == [0, 1, 1]
