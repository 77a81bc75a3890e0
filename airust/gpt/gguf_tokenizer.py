"""A tokenizer as GGUF metadata, and back.

GGUF does not hold a ``tokenizer.json``: it holds a list of tokens with a type each, the merges,
and a name for everything else, ``tokenizer.ggml.pre``. Three of our tokenizers have such a name:

==============================  =====  ========  ===========================================
tokenizer                       model  pre       text is first split
==============================  =====  ========  ===========================================
byte-level BPE, as we train it  gpt2   gpt-2     as GPT-2 did
byte-level BPE of Qwen 2 and 3  gpt2   qwen2     digit by digit, after Unicode form NFC
characters with byte fallback   llama  default   not at all; a space is stored as U+2581
==============================  =====  ========  ===========================================

Every other tokenizer is refused, because a file that splits text differently answers badly and
gives no sign of it. llama.cpp reads all three as we do, but for U+2581 in a text, which the third
takes for a space; mistral.rs reads the third in its own way: give it the folder instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gguf import GGUFWriter, Keys, TokenType
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from airust.gpt.tokenizer import Tokenizer
from airust.types import UserError

# How Qwen 2, 2.5 and 3 split text, character by character as in their tokenizer.json.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPACE = "\u2581"  # how SentencePiece files spell a space
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@dataclass(frozen=True, slots=True)
class _Table:
    """What GGUF says about a tokenizer."""

    model: str  # gpt2: byte-level BPE; llama: SentencePiece
    pre: str
    tokens: list[str]  # by id
    types: list[int]  # TokenType of each
    merges: list[str]  # "left right", most important first


def add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer, vocab_size: int) -> None:
    """Write a tokenizer for a model with ``vocab_size`` rows; rows without a token become unused.

    Raises:
        UserError: GGUF has no form for this tokenizer, or it has more tokens than the model.
    """
    table = _table(json.loads(tokenizer.backend.to_str()), vocab_size)
    writer.add_tokenizer_model(table.model)
    writer.add_tokenizer_pre(table.pre)
    writer.add_token_list(table.tokens)
    writer.add_token_types(table.types)
    if table.model == "gpt2":
        writer.add_token_merges(table.merges)
    else:  # llama.cpp merges the pair with the best score; characters have nothing to merge
        writer.add_token_scores([0.0] * vocab_size)
        writer.add_add_space_prefix(False)
    # Some readers insist on a beginning token, even one that is never added.
    writer.add_bos_token_id(tokenizer.end_of_text)
    writer.add_eos_token_id(tokenizer.turn_end)
    writer.add_eot_token_id(tokenizer.turn_end)
    writer.add_pad_token_id(tokenizer.end_of_text)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)


def read_tokenizer(values: Mapping[str, Any]) -> Tokenizer:
    """Rebuild a tokenizer from GGUF metadata.

    Raises:
        UserError: it is of a kind that ``add_tokenizer`` does not write.
    """
    table = _Table(
        values.get(Keys.Tokenizer.MODEL, "missing"),
        values.get(Keys.Tokenizer.PRE, "default"),
        values.get(Keys.Tokenizer.LIST, []),
        values.get(Keys.Tokenizer.TOKEN_TYPE, []),
        values.get(Keys.Tokenizer.MERGES, []),
    )
    if len(table.types) != len(table.tokens):
        raise UserError("The GGUF file's tokenizer is damaged: a token without a type.")
    if table.model == "gpt2" and table.pre in ("gpt-2", "qwen2"):
        backend = _byte_level_backend(table)
    elif table.model == "llama" and _is_character_table(table):
        backend = _character_backend(table)
    else:
        raise UserError(
            f"The GGUF file's tokenizer ({table.model}, {table.pre}) is not of a kind that "
            f"airust can rebuild."
        )
    for kind, special in ((TokenType.CONTROL, True), (TokenType.USER_DEFINED, False)):
        added = [t for t, k in zip(table.tokens, table.types, strict=True) if k == kind]
        (backend.add_special_tokens if special else backend.add_tokens)(
            [AddedToken(t, special=special, normalized=False) for t in added]
        )
    tokenizer = Tokenizer(backend)
    if not tokenizer.has_chat_form:
        raise UserError("The GGUF file's tokenizer has no ChatML tokens, which airust needs.")
    return tokenizer


def _table(spec: dict[str, Any], vocab_size: int) -> _Table:
    characters = _is_character_model(spec)
    pre = "default" if characters else _pre(spec)
    model, added = spec["model"], spec["added_tokens"]
    if any(t["single_word"] or t["lstrip"] or t["rstrip"] for t in added):
        raise UserError("GGUF cannot hold this tokenizer: a special token strips its neighbours.")
    if not (characters or model["merges"]):
        raise UserError("GGUF cannot hold a tokenizer without merges; train a larger vocabulary.")
    tokens, types = _token_list(spec, vocab_size)
    if characters:
        _respell_characters(tokens, types)
    merges = [" ".join(pair) for pair in model["merges"]]
    return _Table("llama" if characters else "gpt2", pre, tokens, types, merges)


def _token_list(spec: dict[str, Any], vocab_size: int) -> tuple[list[str], list[int]]:
    """Tokens by id, and the type of each."""
    added = spec["added_tokens"]
    ids: dict[str, int] = spec["model"]["vocab"] | {t["content"]: t["id"] for t in added}
    if max(ids.values()) >= vocab_size:
        raise UserError(
            f"The tokenizer has ids up to {max(ids.values())}, but the model's vocabulary ends "
            f"at {vocab_size - 1}."
        )
    tokens = [f"[PAD{i}]" for i in range(vocab_size)]
    types = [int(TokenType.UNUSED)] * vocab_size
    for token, i in ids.items():
        tokens[i], types[i] = token, int(TokenType.NORMAL)
    for token in added:
        kind = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        types[token["id"]] = int(kind)
    return tokens, types


def _pre(spec: dict[str, Any]) -> str:
    """The name under which llama.cpp knows how this tokenizer splits text."""
    model, pre = spec["model"], spec["pre_tokenizer"] or {}
    odd = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    plain = model["type"] == "BPE" and not any(
        model.get(key) for key in (*odd, "byte_fallback", "ignore_merges")
    )
    if plain and spec["normalizer"] is None and _is_byte_level(pre, use_regex=True):
        return "gpt-2"
    if plain and spec["normalizer"] == {"type": "NFC"} and pre.get("type") == "Sequence":
        first, *rest = pre["pretokenizers"]
        splits = first.get("type") == "Split" and first["pattern"] == {"Regex": QWEN_SPLIT}
        whole = splits and first["behavior"] == "Isolated" and not first["invert"]
        if whole and len(rest) == 1 and _is_byte_level(rest[0], use_regex=False):
            return "qwen2"
    raise UserError(
        "GGUF cannot hold this tokenizer: only byte-level BPE (ours or Qwen's) and our character "
        "tokenizer have a form in it; export a Hugging Face folder instead."
    )


def _is_byte_level(pre: dict[str, Any], use_regex: bool) -> bool:
    return (
        pre.get("type") == "ByteLevel"
        and not pre["add_prefix_space"]
        and pre["use_regex"] is use_regex
    )


def _byte_level_backend(table: _Table) -> Backend:
    merges = [_pair(merge) for merge in table.merges]
    backend = Backend(models.BPE(vocab=_vocabulary(table), merges=merges))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=table.pre == "gpt-2")
    backend.pre_tokenizer = level
    if table.pre == "qwen2":
        split = pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated")
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, level])
        backend.normalizer = normalizers.NFC()
    backend.decoder = decoders.ByteLevel()
    return backend


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _vocabulary(table: _Table) -> dict[str, int]:
    unused = int(TokenType.UNUSED)
    kinds = zip(table.tokens, table.types, strict=True)
    return {token: i for i, (token, kind) in enumerate(kinds) if kind != unused}


def _is_character_model(spec: dict[str, Any]) -> bool:
    model = spec["model"]
    return (
        model["type"] == "BPE"
        and model["byte_fallback"]
        and not model["merges"]
        and spec["normalizer"] is None
        and spec["pre_tokenizer"] is None
        and set(BYTES) <= set(model["vocab"])
    )


def _respell_characters(tokens: list[str], types: list[int]) -> None:
    """Mark the bytes and spell the space as SentencePiece does."""
    if SPACE in tokens:
        raise UserError(f"GGUF cannot hold this tokenizer: it has the character {SPACE} (U+2581).")
    for i, token in enumerate(tokens):
        if token in BYTES:
            types[i] = int(TokenType.BYTE)
        elif token == " ":
            tokens[i] = SPACE


def _is_character_table(table: _Table) -> bool:
    kinds = list(zip(table.tokens, table.types, strict=True))
    held = {token for token, kind in kinds if kind == TokenType.BYTE}
    return held == set(BYTES) and all(len(t) == 1 for t, k in kinds if k == TokenType.NORMAL)


def _character_backend(table: _Table) -> Backend:
    respelt: Sequence[str] = [" " if token == SPACE else token for token in table.tokens]
    vocab = _vocabulary(_Table(table.model, table.pre, list(respelt), table.types, []))
    backend = Backend(models.BPE(vocab=vocab, merges=[], byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return backend
