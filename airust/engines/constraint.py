"""Answers that have to match a JSON schema or a regular expression.

A grammar says something about a whole answer, but a model chooses one token at a time. So before
each choice llguidance, a library in Rust, walks through the vocabulary with a parser of the text
so far and tells which tokens can still lead to a match; all others are left out. The end-of-text
token is allowed exactly where the text is a match, and an answer that nothing can follow ends by
itself. An answer that was not cut short by ``max_tokens`` or a stop string therefore matches.

JSON is written without whitespace between its parts: small models never leave off writing it.

>>> from airust.gpt.tokenizer import character_tokenizer
>>> tokenizer = character_tokenizer(["yesno"])
>>> def load():
...     text = tokenizer.backend.to_str()
...     return read_vocabulary(text, tokenizer.vocab_size, [tokenizer.turn_end])
>>> grammars = Grammars(load, tokenizer.vocab_size)
>>> constraint = grammars.constraint(SamplingParams(regex="yes|no"))
>>> {tokenizer.decode([token]) for token in constraint.allowed().nonzero()} == {"y", "n"}
True
>>> for token in tokenizer.encode("no"):
...     constraint.note(token)
>>> constraint.complete
True
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from torch import Tensor

from airust.types import EngineError, SamplingParams, UnsupportedError, UserError

COMPILED = 32  # grammars kept for the next request that has the same

Vocabulary = LLTokenizer  # all tokens as bytes, in a trie


class Constraint:
    """What one answer may go on with. Not for use by two threads at once."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher, self._vocab_size = matcher, vocab_size

    @property
    def complete(self) -> bool:
        """The text matches, and nothing can follow it."""
        return self._matcher.is_stopped()

    def allowed(self) -> Tensor:
        """True for each token (V) that may come next, the end of text included.

        Raises:
            EngineError: there is none, or the grammar takes too long.
        """
        mask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        bits = np.unpackbits(mask, count=self._vocab_size, bitorder="little")
        if not bits.any():
            raise EngineError("No token of the vocabulary goes on as the grammar wants it.")
        return torch.from_numpy(bits).view(torch.bool)

    def note(self, token: int) -> None:
        """The token is now part of the text.

        Raises:
            EngineError: the grammar has become too complex to follow.
        """
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = _reason(self._matcher.get_error())
            raise EngineError(f"The grammar of the request cannot be followed: {reason}.")


class Grammars:
    """Compiles the grammars of requests, for one tokenizer. Safe to use from several threads.

    Args:
        load: gives the vocabulary; called when it is first needed, as it takes its time.
        vocab_size: of the model; it may be larger than the tokenizer's.
    """

    def __init__(self, load: Callable[[], Vocabulary], vocab_size: int) -> None:
        self._load, self._vocab_size = load, vocab_size
        self._loaded: Vocabulary | None = None
        self._loading = threading.Lock()
        self._compiled = lru_cache(COMPILED)(self._compile)

    def constraint(self, params: SamplingParams) -> Constraint | None:
        """What the parameters demand of an answer; None where they demand nothing.

        Raises:
            UserError: the schema or the regular expression is none, or asks for what cannot be had.
            UnsupportedError: llguidance cannot read the model's tokenizer.
        """
        if params.json_schema is None and params.regex is None:
            return None
        matcher = self._compiled(params.json_schema, params.regex)
        return Constraint(matcher.deep_copy(), self._vocab_size)

    def _compile(self, schema: str | None, regex: str | None) -> LLMatcher:
        what = "JSON schema" if schema is not None else "regular expression"
        grammar = _regex_grammar(regex or "") if schema is None else _json_grammar(_schema(schema))
        matcher = LLMatcher(self._vocabulary(), grammar, log_level=0)
        # The first mask is the slowest, and its work serves every copy of the matcher.
        matcher.compute_bitmask()
        if matcher.is_error():
            raise _refusal(what, matcher.get_error())
        return matcher

    def _vocabulary(self) -> Vocabulary:
        with self._loading:
            if self._loaded is None:
                try:
                    self._loaded = self._load()
                except Exception as error:  # whatever a tokenizer of an unknown kind provokes
                    raise UnsupportedError(
                        f"The model's tokenizer allows no schema and no regular expression: "
                        f"{_reason(str(error))}."
                    ) from error
        return self._loaded


def read_vocabulary(tokenizer_json: str, vocab_size: int, eos_ids: Iterable[int]) -> Vocabulary:
    """The vocabulary of a tokenizer.json, as bytes in a trie.

    Args:
        tokenizer_json: the text of the file.
        vocab_size: of the model; ids that the tokenizer does not use are never allowed.
        eos_ids: the tokens that end an answer.
    """
    return LLTokenizer(tokenizer_json, n_vocab=vocab_size, eos_token=sorted(eos_ids))


def compact_schema(text: str) -> dict[str, Any]:
    """A JSON schema from its text, with whitespace between the parts of the answer forbidden.

    For engines that bring their own llguidance.

    Raises:
        UserError: the text is no JSON schema, or asks for what cannot be had.
    """
    schema = _schema(text)
    if error := LLMatcher.validate_grammar(_json_grammar(schema)):
        raise _refusal("JSON schema", error)
    return schema


def checked_regex(text: str) -> str:
    """The regular expression as llguidance takes it, for engines that bring their own.

    Raises:
        UserError: it is none, or asks for what cannot be had.
    """
    if error := LLMatcher.validate_grammar(_regex_grammar(text)):
        raise _refusal("regular expression", error)
    return _without_anchors(text)


def _schema(text: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"The JSON schema is not valid JSON: {error}.") from error
    if not isinstance(schema, dict):
        raise UserError("The JSON schema must be a JSON object.")
    # Also in place of other such options, some of which weaken the schema.
    return schema | {"x-guidance": {"whitespace_flexible": False}}


def _json_grammar(schema: dict[str, Any]) -> str:
    try:
        return LLMatcher.grammar_from_json_schema(json.dumps(schema))
    except ValueError as error:  # NaN, half a surrogate pair, too many levels
        raise _refusal("JSON schema", str(error)) from error


def _regex_grammar(text: str) -> str:
    try:
        return LLMatcher.grammar_from_regex(_without_anchors(text))
    except (ValueError, TypeError) as error:  # half a surrogate pair
        raise _refusal("regular expression", str(error)) from error


def _without_anchors(regex: str) -> str:
    r"""The expression without ^ before and $ behind it: it has to match the whole answer anyway.

    >>> _without_anchors(r"^\d+$"), _without_anchors(r"\d+\$"), _without_anchors(r"\\$")
    ('\\d+', '\\d+\\$', '\\\\')
    """
    regex = regex.removeprefix("^")
    escapes = len(regex) - 1 - len(regex[:-1].rstrip("\\"))  # before the last character
    return regex[:-1] if regex.endswith("$") and escapes % 2 == 0 else regex


def _refusal(what: str, error: str) -> UserError:
    return UserError(f"The {what} cannot be used: {_reason(error)}.")


def _reason(error: str) -> str:
    """llguidance's explanation in one sentence, without positions and drawings.

    >>> _reason("at 1(8): invalid regex\\n    (\\n    ^\\nerror: unclosed group\\n")
    'unclosed group'
    """
    lines = error.strip().splitlines() or ["no reason given"]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    sentence = [*told, lines[0]][0].partition(". ")[0]
    return re.sub(r"^at \d+\(\d+\): ", "", sentence).rstrip(".")
