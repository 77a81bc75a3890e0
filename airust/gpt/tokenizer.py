"""Text to token ids and back, and the ChatML form of a conversation.

Any ``tokenizer.json`` of the library ``tokenizers`` can be loaded. Two kinds are made here:

* byte-level BPE (Sennrich et al. 2016; byte level as in GPT-2), trained by the Rust library
  ``tokenizers``: frequent byte runs become tokens, every other text falls back to single bytes;
* character level, for lessons: one token a character seen in training, bytes for the rest.

Neither of the two ever drops input: ``decode(encode(text)) == text`` for any string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from airust.gpt.text import REPLACEMENT
from airust.types import Message, UserError

END_OF_TEXT = "<|endoftext|>"  # between documents; also padding
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"  # ends an answer
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)

BYTE = re.compile("<0x[0-9A-F]{2}>")  # a token for one byte
NO_UNICODE = "The text is not valid Unicode: it holds a lone surrogate."

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class Tokenizer:
    """A ``tokenizers`` tokenizer and, if it has their three special tokens, ChatML turns."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        # A special token spelled out in ordinary text is text, not a control token.
        self.backend.encode_special_tokens = True
        self._characters = _character_table(backend)
        self._joins = isinstance(backend.decoder, decoders.ByteLevel)  # texts side by side
        self._whole: dict[int, str | None] = {}

    def whole(self, token_id: int) -> str | None:
        """The token's text if it is the same beside any others; None if it holds half a character.

        Only byte-level tokenizers are asked: others may set a space before a token, or strip it.
        """
        if not self._joins:
            return None
        if token_id not in self._whole:
            text = self.decode([token_id])
            self._whole[token_id] = None if REPLACEMENT in text else text
        return self._whole[token_id]

    @property
    def has_chat_form(self) -> bool:
        """It has the special tokens of ChatML."""
        return all(self.backend.token_to_id(token) is not None for token in SPECIAL_TOKENS)

    @property
    def end_of_text(self) -> int:
        """Ends a document.

        Raises:
            UserError: a foreign tokenizer has no such token; so for the next two.
        """
        return self._special(END_OF_TEXT)

    @property
    def turn_start(self) -> int:
        """Begins a turn of a conversation."""
        return self._special(TURN_START)

    @property
    def turn_end(self) -> int:
        """Ends a turn of a conversation."""
        return self._special(TURN_END)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer, the usual one first."""
        found = map(self.backend.token_to_id, (TURN_END, END_OF_TEXT))
        return tuple(token_id for token_id in found if token_id is not None)

    def _special(self, token: str) -> int:
        token_id = self.backend.token_to_id(token)
        if token_id is None:
            raise UserError(f"The tokenizer has no token {token}, which the chat form needs.")
        return token_id

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special tokens included."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; nothing is added.

        Raises:
            UserError: the text holds half a surrogate pair, which UTF-8 has no bytes for.
        """
        return self._plain(text)

    def _plain(self, text: str, add_special: bool = False) -> list[int]:
        if self._characters is None:
            return encode_with(self.backend, text, add_special)
        try:
            return [i for c in text for i in self._characters.get(c) or self._bytes(c)]
        except UnicodeEncodeError as error:
            raise UserError(NO_UNICODE) from error

    def _bytes(self, character: str) -> list[int]:
        """An unknown character as its UTF-8 bytes."""
        return [self._special(f"<0x{byte:02X}>") for byte in character.encode()]

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of token ids; bytes that are not valid UTF-8 become U+FFFD."""
        text: str = self.backend.decode(list(ids), skip_special_tokens=skip_special)
        return text

    def encode_turn(self, role: str, content: str) -> list[int]:
        """``<|im_start|>role\\ncontent<|im_end|>\\n`` as ids."""
        body = self._plain(f"{role}\n{content}")
        return [self.turn_start, *body, self.turn_end, *self._plain("\n")]

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """A conversation up to the point where the assistant's answer begins."""
        ids = [i for m in messages for i in self.encode_turn(m.role, m.content)]
        return [*ids, self.turn_start, *self._plain("assistant\n")]

    def files(self) -> dict[str, str]:
        """What a model folder holds of a tokenizer: file names and their texts."""
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": TURN_END,
            "pad_token": END_OF_TEXT,
            "bos_token": None,
            "unk_token": None,
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        }
        return {
            "tokenizer.json": self.backend.to_str(pretty=True),
            "tokenizer_config.json": json.dumps(settings, indent=2),
            "chat_template.jinja": CHAT_TEMPLATE,
        }

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
        for name, text in self.files().items():
            (folder / name).write_text(text, "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read tokenizer.json from a model folder.

        Raises:
            UserError: the file is missing or broken.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"There is no tokenizer.json in '{folder}'; is it a model folder?")
        try:
            return cls(Backend.from_file(str(path)))
        except Exception as error:  # the Rust side raises a bare Exception
            raise UserError(f"'{path}' is not a readable tokenizer: {error}.") from error


def encode_with(backend: Backend, text: str, add_special: bool = False) -> list[int]:
    """Token ids as the library makes them.

    Args:
        add_special: put there what the model was trained to find around a text, such as a
            beginning token.

    Raises:
        UserError: the text holds half a surrogate pair, which UTF-8 has no bytes for.
    """
    try:
        ids: list[int] = backend.encode(text, add_special_tokens=add_special).ids
    except TypeError as error:  # the Rust side takes no such string
        raise UserError(NO_UNICODE) from error
    return ids


def _character_table(backend: Backend) -> dict[str, tuple[int]] | None:
    """Character -> its token, of a tokenizer with nothing but characters and bytes; else None.

    The Rust side looks for merges in a text of a million characters as in one word, for minutes.
    """
    if backend.pre_tokenizer is not None or backend.normalizer is not None:
        return None
    table: dict[str, tuple[int]] = {}
    for token, token_id in backend.get_vocab(with_added_tokens=False).items():
        if len(token) == 1:
            table[token] = (token_id,)
        elif token not in SPECIAL_TOKENS and not BYTE.fullmatch(token):
            return None
    return table if backend.token_to_id("<0xFF>") is not None else None


def train_bpe(texts: Iterable[str], vocab_size: int = 4096) -> Tokenizer:
    """Learn byte-level BPE merges from texts.

    Raises:
        UserError: vocab_size leaves no room for the 256 bytes and the special tokens.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise UserError(f"vocab_size is {vocab_size} but must be at least {smallest}.")
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return Tokenizer(backend)


def character_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """One token for each character of the texts; any other character becomes its UTF-8 bytes."""
    characters = sorted(set().union(*map(set, texts)))
    tokens = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), *characters]
    backend = Backend(
        models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[], byte_fallback=True)
    )
    backend.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return Tokenizer(backend)
