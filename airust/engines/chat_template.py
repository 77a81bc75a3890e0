"""A model's own chat template: Jinja text that turns messages into a prompt.

Rendered as transformers does it, for engines that take a prompt. Templates come with downloaded
models, so they run in Jinja's sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from airust.types import Message, UserError


class ChatTemplate:
    """Turns messages into the prompt that the model was tuned with.

    >>> template = ChatTemplate("{% for m in messages %}[{{m.role}}] {{m.content}} {% endfor %}")
    >>> template.render([Message("user", "Hi"), Message("assistant", "Hello")])
    '[user] Hi [assistant] Hello '

    Raises:
        UserError: the template is not valid Jinja.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        self.source = source
        self._special_tokens = dict(special_tokens or {})
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise UserError(f"The model's chat template is broken: {error}.") from error

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt, up to where the answer begins.

        Raises:
            UserError: the template refuses this conversation, for instance its order of roles.
        """
        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return self._template.render(
                messages=turns, add_generation_prompt=True, **self._special_tokens
            )
        except TemplateError as error:
            raise UserError(
                f"The model's chat template refuses these messages: {error}."
            ) from error

    @classmethod
    def of_model(cls, model: Path) -> ChatTemplate | None:
        """The template of a folder or GGUF file; None if it has none.

        Raises:
            UserError: a file is broken.
        """
        try:
            source, tokens = (_in_folder if model.is_dir() else _in_gguf)(model)
        except (OSError, ValueError, IndexError) as error:
            raise UserError(f"The chat template of '{model}' cannot be read: {error}.") from error
        return cls(source, tokens) if source else None


def _in_folder(folder: Path) -> tuple[str | None, dict[str, str]]:
    settings, jinja = _settings(folder), folder / "chat_template.jinja"
    source = jinja.read_text("utf-8") if jinja.is_file() else settings.get("chat_template")
    if isinstance(source, list):  # several, by name
        source = {entry["name"]: entry["template"] for entry in source}.get("default")
    return source, special_tokens(folder)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def special_tokens(folder: Path) -> dict[str, str]:
    """The special tokens that tokenizer_config.json names, by their part: ``eos_token`` and others.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    settings, tokens = _settings(folder), {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        value = settings.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if value is not None:
            tokens[name] = value
    return tokens


def _in_gguf(path: Path) -> tuple[str | None, dict[str, str]]:
    from gguf import GGUFReader, Keys

    fields = GGUFReader(path).fields

    def value(key: str) -> Any:
        return fields[key].contents() if key in fields else None

    vocabulary = fields.get(Keys.Tokenizer.LIST)
    ids = {"bos_token": value(Keys.Tokenizer.BOS_ID), "eos_token": value(Keys.Tokenizer.EOS_ID)}
    tokens = {n: vocabulary.contents(i) for n, i in ids.items() if vocabulary and i is not None}
    return value(Keys.Tokenizer.CHAT_TEMPLATE), tokens


def _to_json(value: object, indent: int | None = None) -> str:
    # Jinja's own filter escapes HTML, which no model was tuned with.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
