"""The tokenizer of a model folder as engines need it: the model's chat form and end tokens too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer as Backend

from airust.engines.chat_template import ChatTemplate, special_tokens
from airust.engines.constraint import Vocabulary, read_vocabulary
from airust.gpt.checkpoint import read_object
from airust.gpt.tokenizer import CHAT_TEMPLATE, Tokenizer, encode_with
from airust.types import Message, UnsupportedError, UserError

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


class ModelTokenizer(Tokenizer):
    """Writes conversations as the model's own chat template does.

    A model with our template gets the ids of ``Tokenizer``, in which a special token spelled out
    in a message is text. In a conversation that any other template writes it is that token,
    because the template's own are found in the same way; transformers, mistral.rs and llama.cpp
    read it alike.

    Args:
        template: of a model that has none, ChatML is used where the tokenizer knows it.
        eos_ids: tokens that end an answer; those of ChatML if there are none.
        files: what is written beside the weights when the model is saved; ours if None.
    """

    def __init__(
        self,
        backend: Backend,
        template: ChatTemplate | None = None,
        eos_ids: Sequence[int] = (),
        files: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(backend)
        self._template, self._eos_ids, self._files = template, tuple(eos_ids), files
        # The first backend takes special tokens for text. A second one, because requests are
        # tokenised in several threads and the difference is a setting of the whole backend.
        self._reader: Backend | None = None
        if template is not None and template.source != CHAT_TEMPLATE:
            self._reader = Backend.from_str(backend.to_str())

    @classmethod
    def load(cls, folder: Path) -> ModelTokenizer:
        """Read the tokenizer, the chat template and the end tokens of a model folder.

        Raises:
            UserError: a file is missing or broken.
        """
        backend, template = Tokenizer.load(folder).backend, ChatTemplate.of_model(folder)
        paths = [path for name in FILES if (path := folder / name).is_file()]
        texts = {path.name: path.read_text("utf-8") for path in paths}
        return cls(backend, template, end_tokens(folder, backend), texts)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        return self._eos_ids or super().eos_ids

    def encode(self, text: str, add_special: bool = True) -> list[int]:
        """Token ids of a raw prompt, after the beginning token if the model wants one."""
        return self._plain(text, add_special)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """A conversation up to the point where the assistant's answer begins.

        Raises:
            UnsupportedError: the model has no chat form.
            UserError: its template refuses the messages.
        """
        if self._template is None and not self.has_chat_form:
            raise UnsupportedError("The model has no chat template; give it a raw prompt.")
        if self._template is None or self._reader is None:
            return super().encode_chat(messages)
        return encode_with(self._reader, self._template.render(messages))

    def vocabulary(self, vocab_size: int) -> Vocabulary:
        """The tokens as grammars see them, for a model of this many."""
        return read_vocabulary(self.backend.to_str(), vocab_size, self.eos_ids)

    def files(self) -> dict[str, str]:
        """What a model folder holds of a tokenizer: file names and their texts."""
        return super().files() if self._files is None else dict(self._files)


def end_tokens(folder: Path, backend: Backend) -> tuple[int, ...]:
    """All tokens that a folder says end an answer.

    Generation settings come first, as in transformers; the model's config and its tokenizer may
    name others, such as the end of a document, after which nothing sensible follows either.

    Raises:
        UserError: a file is broken.
    """
    ids: list[int] = []
    for name in ("generation_config.json", "config.json"):
        if (path := folder / name).is_file():
            value = read_object(path).get("eos_token_id")
            values = value if isinstance(value, list) else [] if value is None else [value]
            if not all(isinstance(i, int) for i in values):
                raise UserError(f"'{path}' has the eos_token_id {value!r}, which is no token id.")
            ids += values
    token = special_tokens(folder).get("eos_token")
    token_id = None if token is None else backend.token_to_id(token)
    return tuple(dict.fromkeys(ids if token_id is None else [*ids, token_id]))
