"""Grammars by themselves: random walks through what they allow. Engines: test_contract.py."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest

from airust.engines.constraint import (
    Grammars,
    Vocabulary,
    checked_regex,
    compact_schema,
    read_vocabulary,
)
from airust.engines.model_tokenizer import ModelTokenizer
from airust.gpt.tokenizer import Tokenizer, character_tokenizer, train_bpe
from airust.types import EngineError, SamplingParams, UnsupportedError, UserError
from tests.conftest import SENTENCES
from tests.engines import hf_tokenizers


def shaped(kind: str) -> ModelTokenizer:
    """A tokenizer in the shape of a well-known model's."""
    made, (_, ends) = hf_tokenizers.backend(kind), hf_tokenizers.PARTS[kind]
    return ModelTokenizer(made, eos_ids=[made.token_to_id(token) for token in ends])


TOKENIZERS: dict[str, Tokenizer] = {
    "bpe": train_bpe(SENTENCES * 3, vocab_size=400),
    "bytes": train_bpe(SENTENCES, vocab_size=259),
    "characters": character_tokenizer(SENTENCES),
    **{kind: shaped(kind) for kind in hf_tokenizers.PARTS},
}
STRING = re.compile(r'"(\\.|[^"\\])*"')  # of JSON
CLOSING = '"}],0'  # what brings an answer nearer to its end
ANIMAL = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8},
        "legs": {"type": "integer", "minimum": 0, "maximum": 8},
        "tame": {"type": "boolean"},
        "kind": {"enum": ["bird", "fish", "水母", 'a "quoted" one', "a\u0001b"]},
    },
    "required": ["name", "legs"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "object": ANIMAL,
    "array": {"type": "array", "items": ANIMAL, "minItems": 1, "maxItems": 3},
    "number": {"type": "number", "minimum": -2, "exclusiveMaximum": 3.5},
    "choice": {"anyOf": [{"type": "null"}, {"const": {"a": [1, 2.5, "水"]}}, {"type": "string"}]},
    "pattern": {"type": "string", "pattern": "^[a-z]{2,4}-水?[0-9]+$"},
    "format": {"type": "string", "format": "date"},
    "pair": {"prefixItems": [{"type": "string"}, {"type": "number"}], "items": False},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    "tree": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": ["string", "number"]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["value"],
            }
        },
        "$ref": "#/$defs/node",
    },
    "anything": {},
}


def grammars(tokenizer: Tokenizer, more: int = 0, eos: Sequence[int] = ()) -> Grammars:
    """For a model with ``more`` rows than the tokenizer has tokens."""
    size = tokenizer.vocab_size + more

    def load() -> Vocabulary:
        return read_vocabulary(tokenizer.backend.to_str(), size, eos or tokenizer.eos_ids)

    return Grammars(load, size)


def walk(found: Grammars, tokenizer: Tokenizer, params: SamplingParams, seed: int) -> str | None:
    """A random answer; None if it is not complete after 300 tokens."""
    constraint, luck, ids = found.constraint(params), random.Random(seed), []
    assert constraint is not None
    for _ in range(300):
        allowed = constraint.allowed().nonzero().flatten().tolist()
        ends = [i for i in allowed if i in tokenizer.eos_ids]
        near = [i for i in allowed if i not in ends and tokenizer.decode([i]) in CLOSING]
        token = luck.choice((ends or near or allowed) if luck.random() < 0.3 else allowed)
        if token in tokenizer.eos_ids:
            return tokenizer.decode(ids)
        ids.append(token)
        constraint.note(token)
        if constraint.complete:
            return tokenizer.decode(ids)
    return None


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_complete_answer_validates(kind: str, name: str) -> None:
    tokenizer, schema = TOKENIZERS[kind], SCHEMAS[name]
    params, found = SamplingParams(json_schema=json.dumps(schema)), grammars(tokenizer, more=3)
    answers = [walk(found, tokenizer, params, seed) for seed in range(25)]
    complete = [answer for answer in answers if answer is not None]
    assert len(complete) > 10
    for answer in complete:
        value = json.loads(answer)
        jsonschema.validate(value, schema)
        assert not re.search(r"\s", STRING.sub("", answer))  # not even between its parts
    assert len(set(complete)) > 1


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize(
    "regex", ["[0-9]{3}-(水|rain)", "(ja|nein)+", "", "^yes|no$", r"\p{Han}{1,3}[^a]?", r"a/b\$"]
)
def test_every_complete_answer_matches(kind: str, regex: str) -> None:
    tokenizer, params = TOKENIZERS[kind], SamplingParams(regex=regex)
    found = grammars(tokenizer)
    pattern = re.compile(f"({regex})".replace(r"\p{Han}", "[\u2e80-\ufaff\U00016f00-\U0003ffff]"))
    for seed in range(20):
        answer = walk(found, tokenizer, params, seed)
        assert answer is not None
        assert pattern.fullmatch(answer), answer


def test_the_end_is_allowed_exactly_where_the_text_matches() -> None:
    tokenizer = TOKENIZERS["bytes"]
    found = grammars(tokenizer, more=5)
    constraint = found.constraint(SamplingParams(regex="ab?(cd)*"))
    assert constraint is not None
    matches = ""
    for token in tokenizer.encode("abcdcd"):
        allowed = constraint.allowed()
        matches += "1" if allowed[tokenizer.turn_end] else "0"
        assert allowed[tokenizer.turn_end] == allowed[tokenizer.end_of_text]
        assert not allowed[tokenizer.turn_start]
        assert not allowed[-5:].any()  # rows of the model without a token
        assert allowed[token]
        constraint.note(token)
        assert not constraint.complete  # more may follow
    assert matches == "011010"


def test_an_answer_that_nothing_can_follow_is_complete() -> None:
    tokenizer = TOKENIZERS["bpe"]
    constraint = grammars(tokenizer).constraint(SamplingParams(json_schema='{"const": [1]}'))
    assert constraint is not None
    for token in tokenizer.encode("[1]"):
        assert not constraint.complete
        constraint.note(token)
    assert constraint.complete
    assert set(constraint.allowed().nonzero().flatten().tolist()) == set(tokenizer.eos_ids)


def test_nothing_demanded() -> None:
    def fail() -> Vocabulary:
        raise AssertionError("the vocabulary is not needed")

    assert Grammars(fail, 9).constraint(SamplingParams()) is None


def test_a_token_against_the_grammar_is_an_error() -> None:
    tokenizer = TOKENIZERS["bpe"]
    constraint = grammars(tokenizer).constraint(SamplingParams(regex="a"))
    assert constraint is not None
    with pytest.raises(EngineError, match=r"^The grammar of the request cannot be followed: .*\.$"):
        constraint.note(tokenizer.encode("b")[0])


def test_a_grammar_that_becomes_too_complex_is_an_error() -> None:
    tokenizer = TOKENIZERS["bpe"]
    constraint = grammars(tokenizer).constraint(SamplingParams(regex="a{300000}"))
    assert constraint is not None
    with pytest.raises(EngineError, match="too many expressions"):
        for _ in range(100):
            constraint.allowed()
            constraint.note(tokenizer.encode("a")[0])


BAD_SCHEMAS = {
    "{": "is not valid JSON",
    '{"a":' * 2000 + "1" + "}" * 2000: "is not valid JSON",
    "[]": "must be a JSON object",
    "true": "must be a JSON object",
    '{"type": "colour"}': "colour",
    '{"not": {"type": "string"}}': "not",
    '{"type": "array", "uniqueItems": true}': "uniqueItems",
    '{"$ref": "#/nowhere"}': "nowhere",
    '{"$ref": "http://example.org/x"}': "example.org",
    '{"enum": []}': "anyOf is empty",
    '{"type": "integer", "minimum": 5, "maximum": 3}': "minimum",
    '{"type": "string", "pattern": "(?=a)b"}': "look-around",
    '{"type": "string", "format": "colour"}': "colour",
    '{"oneOf": [{"type": "integer"}, {"type": "number"}]}': "oneOf",
    '{"const": "\ud800"}': "hex escape",
    '{"maximum": NaN}': "expected value",
    # An option with which llguidance would pass over what it does not know.
    '{"x-guidance": {"lenient": true}, "not": {}}': "not",
}
BAD_REGEXES = {
    "(": "unclosed group",
    "[": "unclosed character class",
    "(?=a)b": "look-around",
    r"(a)\1": "backreferences",
    r"\bword\b": "lookarounds",
    "\ud800": "surrogates",
    "(" * 5000 + ")" * 5000: "nested",
}


@pytest.mark.parametrize("schema", BAD_SCHEMAS, ids=range(len(BAD_SCHEMAS)))
def test_a_schema_that_cannot_be_had_is_refused(schema: str) -> None:
    found = grammars(TOKENIZERS["bpe"])
    for refuse in (
        lambda: found.constraint(SamplingParams(json_schema=schema)),
        lambda: compact_schema(schema),
    ):
        with pytest.raises(UserError, match=r"^The JSON schema [^\n]*\.$") as caught:
            refuse()
        assert BAD_SCHEMAS[schema] in str(caught.value)


@pytest.mark.parametrize("regex", BAD_REGEXES, ids=range(len(BAD_REGEXES)))
def test_a_regular_expression_that_cannot_be_had_is_refused(regex: str) -> None:
    for _ in range(2):  # a refusal is not kept as if it were a grammar
        with pytest.raises(UserError, match=r"^The regular expression [^\n]*\.$") as caught:
            grammars(TOKENIZERS["bpe"]).constraint(SamplingParams(regex=regex))
        assert BAD_REGEXES[regex] in str(caught.value)


def test_for_engines_with_their_own_llguidance() -> None:
    schema = compact_schema('{"x-guidance": {"lenient": true}, "type": "string"}')
    assert schema == {"x-guidance": {"whitespace_flexible": False}, "type": "string"}
    assert checked_regex("^a$") == "a"
    with pytest.raises(UserError, match="unclosed group"):
        checked_regex("(")


def test_a_tokenizer_that_llguidance_cannot_read() -> None:
    found = Grammars(lambda: read_vocabulary("{}", 9, [1]), 9)
    with pytest.raises(UnsupportedError, match=r"^The model's tokenizer allows no [^\n]*\.$"):
        found.constraint(SamplingParams(regex="a"))


def test_answers_of_one_grammar_do_not_share_their_state() -> None:
    tokenizer, loads = TOKENIZERS["bpe"], []

    def load() -> Vocabulary:
        loads.append(1)
        return read_vocabulary(tokenizer.backend.to_str(), 400, tokenizer.eos_ids)

    found, params = Grammars(load, 400), SamplingParams(json_schema=json.dumps(ANIMAL))
    answers: dict[int, str | None] = {}

    def answer(seed: int) -> None:
        answers[seed] = walk(found, tokenizer, params, seed)

    threads = [threading.Thread(target=answer, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(loads) == 1
    for seed in range(8):
        assert answers[seed] == walk(found, tokenizer, params, seed)
