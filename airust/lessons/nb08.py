"""How does a model learn to write, with nothing but text to read?

Checks of notebook 08.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise
from typing import Any

from airust.corpus.curriculum import Corpus
from airust.lessons.checker import close, digest, require


def ex1(answer: Any) -> None:
    """The first loss."""
    close(answer, math.log(4096), 0.01, "All tokens equally likely: minus the logarithm of 1/V.")


def ex2(answer: Any) -> None:
    """Inputs and targets."""
    inputs, targets = answer([7, 8, 9, 4], [True, False, True, True])
    require(list(inputs) == [7, 8, 9], "Inputs are all ids but the last; nothing follows that.")
    hint = "The target of a position is the next id, if that id is to be learned."
    require(list(targets) == [-100, 9, 4], hint)


def ex3(answer: Any) -> None:
    """The mask of a packed row."""
    import torch

    for owners in ([0, 0, 1, 1, 1], [0, 1, 2], [5, 5, 5], [0, 0, 1, 0]):
        owner = torch.tensor(owners)
        size = len(owners)
        found = torch.as_tensor(answer(owner))
        require(tuple(found.shape) == (size, size), "The mask is (T, T).")
        require(found.dtype == torch.bool, "The mask holds True and False.")
        expected = (owner[:, None] == owner) & torch.ones(size, size, dtype=torch.bool).tril()
        hint = "True where both positions have the same document and the key is not later."
        require(torch.equal(found, expected), hint)


def ex4(answer: Any) -> None:
    """Warm-up, plateau, decay."""
    expected = {0: 0.1, 4: 0.5, 9: 1.0, 30: 1.0, 60: 1.0, 70: 0.75, 99: 0.025}
    for step, share in expected.items():
        hint = f"Wrong at step {step} of 100 with a warm-up of 10 and a decay of 40."
        close(answer(step, 100, 10, 40), share, 1e-9, hint)


def ex5(answer: Any) -> None:
    """Seconds of a compute-optimal run."""
    for n, rate in ((1e6, 1e10), (70e9, 1e18)):
        hint = "Twenty tokens a parameter, and six operations for each parameter and token."
        close(answer(n, rate) / (120 * n * n / rate), 1, 1e-6, hint)


def ex6(answer: Any) -> None:
    """Too good to be true."""
    hint = "A loss that low that soon: what could make the answer visible?"
    require(digest("nb08.ex6", answer) == "456370b8404e", hint)


def ex7(answer: Any) -> None:
    """A model better than bigrams."""
    import torch

    from airust.gpt.data import collate
    from airust.gpt.loss import NextTokenLoss
    from airust.gpt.model import GPT

    require(isinstance(answer, GPT), "The answer should be a trained GPT.")
    size = answer.parameter_count()
    require(size <= 150_000, f"It has {size:,} parameters, more than 150,000.")
    documents, bigram, end = _held_out()
    require(answer.config.vocab_size > end, "Its vocabulary should be that of `tokenizer`.")
    length = max(len(document.ids) for document in documents) - 1
    require(answer.config.context >= length, f"Held-out facts need a context of {length}.")
    batch = collate([[document] for document in documents], length, end, 0)
    with torch.no_grad():
        total = NextTokenLoss(answer)(batch.inputs, batch.targets, batch.mask)
    loss = float(total / (batch.targets >= 0).sum())
    text = f"Its loss is {loss:.2f} nats a character; the bigram model has {bigram:.2f}."
    require(loss < bigram - 0.3, f"{text} Train longer, or with a better rate.")


@cache
def _held_out() -> tuple[list[Any], float, int]:
    """The notebook's held-out facts, the bigram model's loss on them, and the end mark."""
    from airust.gpt.data import text_document
    from airust.gpt.tokenizer import character_tokenizer

    tokenizer = character_tokenizer(["".join(map(chr, range(32, 127)))])
    facts = [fact for fact in Corpus.load().facts if fact.language == "en"]
    held = [text for fact in facts[::12] for text in fact.statements[:2]]
    learned = [text for n, fact in enumerate(facts) if n % 12 for text in fact.statements]
    pairs: dict[int, Counter[int]] = defaultdict(Counter)
    for text in learned:
        ids = text_document(tokenizer, text).ids
        for a, b in pairwise(ids):
            pairs[a][b] += 1
    documents = [text_document(tokenizer, text) for text in held]
    nats = [
        -math.log((pairs[a][b] + 0.1) / (pairs[a].total() + 0.1 * tokenizer.vocab_size))
        for document in documents
        for a, b in pairwise(document.ids)
    ]
    return documents, sum(nats) / len(nats), tokenizer.end_of_text
