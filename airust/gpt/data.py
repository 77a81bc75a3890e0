"""From documents to batches of token ids.

Documents are packed into rows of a fixed length, several to a row; a document sees only itself
(block-diagonal attention), and the loss counts only what the model should learn to say: in a
conversation the assistant's turns, in a text everything.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from airust.corpus.curriculum import Corpus, Document, Stage
from airust.corpus.fiction import CopyPractice
from airust.gpt.tokenizer import Tokenizer
from airust.types import Message, UserError

IGNORE = -100  # a target that does not count, PyTorch's default ignore_index
OPEN_ROWS = 8  # rows that a document may still join; more would fill better and shuffle less


@dataclass(frozen=True, slots=True)
class TokenDocument:
    """A document as ids, with True where the model is to predict the id."""

    ids: list[int]
    learned: list[bool]


@dataclass(frozen=True, slots=True)
class Batch:
    """One global batch."""

    inputs: Tensor  # (B, T) token ids
    targets: Tensor  # (B, T) the next id, or IGNORE
    mask: Tensor | None  # (B, 1, T, T) True where attention may look; None: causal
    tokens: int  # real tokens, padding not counted
    epoch: int

    def rows(self, start: int, step: int) -> Batch:
        """Every step-th row from start on: one process's share, or one micro-batch."""
        mask = None if self.mask is None else self.mask[start::step]
        return Batch(
            self.inputs[start::step], self.targets[start::step], mask, self.tokens, self.epoch
        )


class Source(Protocol):
    """Where batches come from. The same seed gives the same batches, from any position on."""

    sha256: str  # of the data

    def batches(self, position: int) -> Iterator[Batch]:
        """Endless batches, beginning with number ``position``."""


def text_document(tokenizer: Tokenizer, text: str) -> TokenDocument:
    """A text and its end; everything is learned."""
    ids = [*tokenizer.encode(text), tokenizer.end_of_text]
    return TokenDocument(ids, [True] * len(ids))


def chat_document(
    tokenizer: Tokenizer, messages: Sequence[Message], finished: bool = True
) -> TokenDocument:
    """A conversation; only the assistant's words and the end of its turns are learned.

    With ``finished=False`` the last turn has no end: what comes after it is left open.
    """
    ids: list[int] = []
    learned: list[bool] = []
    header = len(tokenizer.encode("assistant\n")) + 1
    for message in messages:
        turn = tokenizer.encode_turn(message.role, message.content)
        said = message.role == "assistant"
        # not learned: the header before, and the newline after the end of the turn
        ids += turn
        learned += [said and header <= i < len(turn) - 1 for i in range(len(turn))]
    if not finished:
        del ids[-2:], learned[-2:]
    return TokenDocument(ids, learned)


def pack(documents: Iterable[TokenDocument], length: int) -> Iterator[list[TokenDocument]]:
    """Fill rows of length + 1 ids with documents; one that is longer is cut into pieces.

    >>> doc = lambda n: TokenDocument([1] * n, [True] * n)
    >>> [[len(d.ids) for d in row] for row in pack([doc(3), doc(5), doc(2)], 5)]
    [[3, 2], [5]]
    """
    rows: list[list[TokenDocument]] = []
    room: list[int] = []
    for document in documents:
        for piece in _pieces(document, length + 1):
            size = len(piece.ids)
            fitting = next((i for i, free in enumerate(room) if free >= size), None)
            if fitting is None:
                rows.append([])
                room.append(length + 1)
                fitting = len(rows) - 1
            rows[fitting].append(piece)
            room[fitting] -= size
            if len(rows) > OPEN_ROWS:
                yield rows.pop(0)
                room.pop(0)
    yield from rows


def _pieces(document: TokenDocument, size: int) -> Iterator[TokenDocument]:
    # Pieces overlap by one id, so that every id but the first is predicted once.
    for start in range(0, max(1, len(document.ids) - 1), size - 1):
        end = start + size
        yield TokenDocument(document.ids[start:end], document.learned[start:end])


def collate(rows: Sequence[Sequence[TokenDocument]], length: int, pad: int, epoch: int) -> Batch:
    """Packed rows as tensors."""
    ids = np.full((len(rows), length + 1), pad, dtype=np.int64)
    learned = np.zeros((len(rows), length + 1), dtype=bool)
    owner = np.full((len(rows), length + 1), -1, dtype=np.int32)  # which document; -1 padding
    for r, row in enumerate(rows):
        at = 0
        for number, document in enumerate(row):
            end = at + len(document.ids)
            ids[r, at:end] = document.ids
            learned[r, at:end] = document.learned
            owner[r, at:end] = number
            at = end
    same = owner[:, 1:] == owner[:, :-1]
    targets = np.where(learned[:, 1:] & same, ids[:, 1:], IGNORE)
    owners = torch.from_numpy(owner[:, :-1])
    mask = (owners[:, :, None] == owners[:, None, :]).tril_().unsqueeze(1)
    return Batch(
        torch.from_numpy(ids[:, :-1].copy()),
        torch.from_numpy(targets),
        mask,
        int((owner >= 0).sum()),
        epoch,
    )


class PackedSource:
    """Batches from documents that are drawn anew, or at least shuffled, each epoch."""

    def __init__(
        self,
        epoch_documents: Callable[[int], list[TokenDocument]],
        rows: int,
        length: int,
        pad: int,
        sha256: str,
    ) -> None:
        self.epoch_documents = epoch_documents  # epoch number -> documents in random order
        self.rows, self.length, self.pad = rows, length, pad
        self.sha256 = sha256

    def batches(self, position: int) -> Iterator[Batch]:
        """Endless batches; rows left over at the end of an epoch begin the next one."""
        waiting: list[list[TokenDocument]] = []
        number = 0
        for epoch in itertools.count():
            rows = list(pack(self.epoch_documents(epoch), self.length))
            random.Random(epoch).shuffle(rows)
            waiting += rows
            while len(waiting) >= self.rows:
                batch, waiting = waiting[: self.rows], waiting[self.rows :]
                number += 1
                if number > position:
                    yield collate(batch, self.length, self.pad, epoch)


class StreamSource:
    """Batches of random windows from one long run of tokens, which may be memory-mapped."""

    def __init__(
        self, tokens: np.ndarray, rows: int, length: int, seed: int, sha256: str = ""
    ) -> None:
        if len(tokens) < length + 1:
            raise UserError(
                f"The text has {len(tokens)} tokens, but one context needs {length + 1}; "
                f"give more text or a smaller context."
            )
        self.tokens, self.rows, self.length, self.seed = tokens, rows, length, seed
        self.sha256 = sha256

    def batches(self, position: int) -> Iterator[Batch]:
        """Endless batches; each has its own generator, so any position is reached at once."""
        for number in itertools.count(position):
            rng = np.random.default_rng((self.seed, number))
            starts = rng.integers(0, len(self.tokens) - self.length, self.rows)
            windows = np.stack([self.tokens[s : s + self.length + 1] for s in starts])
            ids = torch.from_numpy(windows.astype(np.int64))
            seen = number * self.rows * self.length
            yield Batch(
                ids[:, :-1], ids[:, 1:], None, self.rows * self.length, seen // len(self.tokens)
            )


class StagedSource:
    """One source for the first steps, another for the rest: pretraining, then tuning."""

    def __init__(self, first: Source, second: Source, switch: int) -> None:
        self.first, self.second, self.switch = first, second, switch
        self.sha256 = second.sha256

    def batches(self, position: int) -> Iterator[Batch]:
        """Endless batches; number ``switch`` is the first of the second source."""
        if position < self.switch:
            yield from itertools.islice(self.first.batches(position), self.switch - position)
        yield from self.second.batches(max(0, position - self.switch))


def corpus_source(
    corpus: Corpus, tokenizer: Tokenizer, rows: int, length: int, seed: int, stage: Stage = "mixed"
) -> PackedSource:
    """Batches from the embedded corpus."""

    # the same sentences come again each epoch
    tokens = cache(lambda document: corpus_document(tokenizer, document))

    def documents(epoch: int) -> list[TokenDocument]:
        rng = random.Random(f"{seed}-{stage}-{epoch}")
        return [tokens(document) for document in corpus.epoch(rng, stage)]

    return PackedSource(documents, rows, length, tokenizer.end_of_text, corpus.sha256)


def corpus_document(tokenizer: Tokenizer, document: Document) -> TokenDocument:
    """Any document of the corpus as token ids."""
    if isinstance(document, str):
        return text_document(tokenizer, document)
    if isinstance(document, CopyPractice):
        turns = (Message("user", document.question), Message("assistant", document.answer_start))
        return chat_document(tokenizer, turns, finished=False)
    return chat_document(tokenizer, document)
