"""Text to token ids and back, and the ChatML form of a conversation.

Two kinds, both stored as a standard ``tokenizer.json``:

* byte-level BPE (Sennrich et al. 2016; byte level as in GPT-2), trained by the Rust library
  ``tokenizers``: frequent byte runs become tokens, every other text falls back to single bytes;
* character level, for lessons: one token a character seen in training, bytes for the rest.

Neither ever drops input: ``decode(encode(text)) == text`` for any string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from airust.types import Message, UserError

END_OF_TEXT = "<|endoftext|>"  # between documents; also padding
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"  # ends an answer
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)

BYTE = re.compile("<0x[0-9A-F]{2}>")  # a token for one byte

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class Tokenizer:
    """A ``tokenizers`` tokenizer with the three special tokens of ChatML."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        # A special token spelled out in ordinary text is text, not a control token.
        self.backend.encode_special_tokens = True
        self.end_of_text = self._special(END_OF_TEXT)
        self.turn_start = self._special(TURN_START)
        self.turn_end = self._special(TURN_END)
        self._characters = _character_table(backend)

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
        try:
            if self._characters is not None:
                return [i for c in text for i in self._characters.get(c) or self._bytes(c)]
            ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        except (TypeError, UnicodeEncodeError) as error:  # the Rust side takes no such string
            raise UserError("The text is not valid Unicode: it holds a lone surrogate.") from error
        return ids

    def _bytes(self, character: str) -> list[int]:
        """An unknown character as its UTF-8 bytes."""
        return [self._special(f"<0x{byte:02X}>") for byte in character.encode()]

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of token ids; bytes that are not valid UTF-8 become U+FFFD."""
        text: str = self.backend.decode(list(ids), skip_special_tokens=skip_special)
        return text

    def encode_turn(self, role: str, content: str) -> list[int]:
        """``<|im_start|>role\\ncontent<|im_end|>\\n`` as ids."""
        body = self.encode(f"{role}\n{content}")
        return [self.turn_start, *body, self.turn_end, *self.encode("\n")]

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """A conversation up to the point where the assistant's answer begins."""
        ids = [i for m in messages for i in self.encode_turn(m.role, m.content)]
        return [*ids, self.turn_start, *self.encode("assistant\n")]

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
            UserError: the file is missing, broken, or has no ChatML tokens.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"There is no tokenizer.json in '{folder}'; is it a model folder?")
        try:
            return cls(Backend.from_file(str(path)))
        except UserError:
            raise
        except Exception as error:  # the Rust side raises a bare Exception
            raise UserError(f"'{path}' is not a readable tokenizer: {error}.") from error


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
