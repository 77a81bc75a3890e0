"""How does text become numbers, and who decides where a word ends?

Checks of notebook 06.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from airust.lessons.checker import close, digest, require

Piece = tuple[str, ...]


def ex1(answer: Any) -> None:
    """Bytes of a short text."""
    close(answer, len("水🦀a".encode()), 0, "Add up the bytes of each character, as shown above.")


def ex2(answer: Any) -> None:
    """The first merge."""
    text = "".join(answer) if isinstance(answer, tuple | list) else str(answer)
    require(len(text) == 2, "A pair is two letters.")
    hint = "Count each pair with the frequency of its word; newest and widest share some."
    require(digest("nb06.ex2", text) == "a0e58a0ae25e", hint)


def ex3(answer: Any) -> None:
    """Bytes to text, never half a character."""
    for text, cuts in (("水到渠成", 2), ("🦀 is a crab, 水 is water", 3), ("plain", 1), ("é🦀", 5)):
        decoder, data, out = answer(), text.encode(), ""
        for start in range(0, len(data), cuts):
            piece = decoder.push(list(data[start : start + cuts]))
            require(isinstance(piece, str), "push should return a text, the empty one if need be.")
            require("\ufffd" not in piece, "Half a character came out; hold its bytes back.")
            out += piece
        require(out == text, f"The pieces of {text!r} do not add up to it.")


def ex4(answer: Any) -> None:
    """Tokens for each character."""
    from airust.gpt.tokenizer import character_tokenizer, train_bpe

    texts = ["The Nile is long.", "水往低处流。🦀"]
    for tokenizer in (train_bpe(texts, 280), character_tokenizer(texts[:1])):
        for text in texts:
            expected = len(tokenizer.encode(text)) / len(text)
            hint = "Divide the number of token ids by len(text), which counts characters."
            close(answer(tokenizer, text), expected, 1e-9, hint)


def ex5(answer: Any) -> None:
    """Pair counts kept up to date."""
    pieces: dict[Piece, int] = {
        tuple("banana"): 3,
        tuple("aaaa"): 2,
        tuple("bandana"): 1,
        tuple("xyz"): 9,
        tuple("na"): 4,
    }
    for pair in (("a", "n"), ("a", "a"), ("n", "a")):
        before = dict(pieces)
        new, pairs = answer(dict(pieces), _count(pieces), pair)
        require(pieces == before, "Do not change the dictionary that is given.")
        wanted = {_merge(piece, pair): count for piece, count in pieces.items()}
        require(dict(new) == wanted, "The new pieces are wrong; merge from left to right.")
        kept = {name: count for name, count in dict(pairs).items() if count}
        hint = "Take off all pairs of the old piece, add all pairs of the new one, times its count."
        require(kept == dict(_count(wanted)), hint)


def ex6(answer: Any) -> None:
    """A text that is not restored."""
    require(isinstance(answer, str), "The answer is a text.")
    require(
        " ".join(answer.split()) != answer, "This one is restored. What does split() throw away?"
    )


def ex7(answer: Any) -> None:
    """Better training texts for a tokenizer."""
    from airust.corpus.curriculum import Corpus
    from airust.gpt.tokenizer import train_bpe

    texts = list(answer)
    require(all(isinstance(text, str) for text in texts), "A list of texts is expected.")
    size = sum(map(len, texts))
    require(size <= 60_000, f"These are {size:,} characters, more than 60,000.")
    corpus = Corpus.load()
    test = [e.answer for e in corpus.explanations if e.language == "en"]
    facts = [f.statements[0] for f in corpus.facts if f.language == "en"]
    mine, theirs = (
        sum(len(tokenizer.encode(text)) for text in test)
        for tokenizer in (train_bpe(texts, 1000), train_bpe(facts, 1000))
    )
    require(mine < theirs, f"{mine:,} tokens against {theirs:,}: train on text like the test text.")


def _count(pieces: dict[Piece, int]) -> Counter[Piece]:
    pairs: Counter[Piece] = Counter()
    for piece, count in pieces.items():
        for pair in pairwise(piece):
            pairs[pair] += count
    return pairs


def _merge(piece: Piece, pair: Piece) -> Piece:
    out: list[str] = []
    i = 0
    while i < len(piece):
        step = 2 if piece[i : i + 2] == pair else 1
        out.append("".join(piece[i : i + step]))
        i += step
    return tuple(out)
