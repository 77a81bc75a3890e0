"""Tokenizers for the llama.cpp engine: ours where the model has it, otherwise llama.cpp's own."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from airust.engines.chat_template import ChatTemplate
from airust.engines.constraint import Vocabulary
from airust.engines.llamacpp.context import LlamaContext, library
from airust.engines.model_tokenizer import ModelTokenizer
from airust.gpt.gguf import load_gguf_tokenizer
from airust.types import Message, UnsupportedError, UserError


class EngineTokenizer(Protocol):
    """What the engine asks of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""

    @property
    def eos_ids(self) -> Collection[int]:
        """Tokens that end an answer."""

    def encode(self, text: str, add_special: bool = True) -> list[int]:
        """Token ids of plain text, after the beginning token if the model wants one."""

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """A conversation up to the point where the answer begins."""

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of token ids; bytes that are not valid UTF-8 become U+FFFD."""

    def vocabulary(self, vocab_size: int) -> Vocabulary:
        """The tokens as grammars see them, for a model of this many."""


def tokenizer_of_file(path: Path, context: LlamaContext) -> EngineTokenizer:
    """The tokenizer in a GGUF file, ours if the file holds one of ours.

    Raises:
        UserError: the file's chat template is broken.
    """
    try:
        tokenizer = load_gguf_tokenizer(path)
    except UserError:  # of another kind, which llama.cpp knows
        return FileTokenizer(path, context)
    return ModelTokenizer(tokenizer.backend, ChatTemplate.of_model(path))


class FileTokenizer:
    """llama.cpp's reading of a GGUF file's tokenizer, with the file's own chat template."""

    def __init__(self, path: Path, context: LlamaContext) -> None:
        self._llama: Any = library()[0]
        self._vocabulary = vocabulary = context.vocabulary
        self._template = ChatTemplate.of_model(path)
        self.vocab_size = context.vocab_size
        is_end = self._llama.llama_vocab_is_eog
        self.eos_ids: Collection[int] = frozenset(
            i for i in range(self.vocab_size) if is_end(vocabulary, i)
        )

    def encode(self, text: str, add_special: bool = True) -> list[int]:
        """Token ids, with a beginning token if the model was trained with one.

        A special token spelled out in the text is text.
        """
        return self._encode(text, add_special, parse_special=False)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """A conversation in the form of the file's chat template.

        Raises:
            UnsupportedError: the file has no template.
        """
        if self._template is None:
            raise UnsupportedError("The model has no chat template; give it a raw prompt.")
        # The template writes the beginning token itself.
        return self._encode(self._template.render(messages), add_special=False, parse_special=True)

    def _encode(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 8  # a token is at least a byte, but for the special ones around
        ids = (self._llama.llama_token * room)()
        count = self._llama.llama_tokenize(
            self._vocabulary, data, len(data), ids, room, add_special, parse_special
        )
        if count < 0:
            raise UserError("llama.cpp cannot tokenise this text.")
        return list(ids[:count])

    def vocabulary(self, vocab_size: int) -> Vocabulary:
        """The tokens as grammars see them."""
        from llguidance.llamacpp import lltokenizer_from_vocab  # imports llama_cpp

        return lltokenizer_from_vocab(self._vocabulary, vocab_size, sorted(self.eos_ids))

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of token ids; bytes that are not valid UTF-8 become U+FFFD."""
        return b"".join(self._piece(i, skip_special) for i in ids).decode("utf-8", "replace")

    def _piece(self, token_id: int, skip_special: bool) -> bytes:
        room = 256
        text = ctypes.create_string_buffer(room)
        piece = self._llama.llama_token_to_piece
        count = piece(self._vocabulary, token_id, text, room, 0, not skip_special)
        return text.raw[: max(count, 0)]
