"""Templates render as in transformers, wherever they are stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airust.engines.chat_template import ChatTemplate
from airust.gpt.gguf import save_gguf
from airust.gpt.tokenizer import CHAT_TEMPLATE, Tokenizer
from airust.types import Message, UserError

TALK = (Message("system", "Be brief."), Message("user", "<b>水</b>"), Message("assistant", "Yes."))
TEMPLATES = (
    CHAT_TEMPLATE,
    "{{ bos_token }}{% for m in messages %}\n  {{ m['role'] | upper }}: {{ m.content | trim }}\n"
    "{% endfor %}\n{% if add_generation_prompt %}\nA:{% endif %}",
    "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{{ m | tojson }}"
    "{% endfor %}",
    "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% endif %}"
    "{{ rest[0].content }}{{ eos_token }}",
)


@pytest.mark.parametrize("source", TEMPLATES)
def test_as_transformers_renders(source: str, model_dir: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_dir)
    tokenizer.bos_token = "<|endoftext|>"
    expected = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in TALK],
        chat_template=source,
        tokenize=False,
        add_generation_prompt=True,
    )
    tokens = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
    assert ChatTemplate(source, tokens).render(TALK) == expected


def test_our_own_template_is_our_own_encoding(model_dir: Path) -> None:
    template, tokenizer = ChatTemplate.of_model(model_dir), Tokenizer.load(model_dir)
    assert template is not None
    text = tokenizer.decode(tokenizer.encode_chat(TALK), skip_special=False)
    assert template.render(TALK) == text


def test_of_a_gguf_file(model_dir: Path, tmp_path: Path) -> None:
    save_gguf(model_dir, tmp_path / "model.gguf")
    template = ChatTemplate.of_model(tmp_path / "model.gguf")
    assert template is not None
    assert template.render(TALK).startswith("<|im_start|>system\nBe brief.<|im_end|>\n")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"chat_template": None}, None),
        ({"chat_template": "{{ bos_token }}!", "bos_token": "<s>"}, "<s>!"),
        ({"chat_template": "{{ eos_token }}", "eos_token": {"content": "</s>"}}, "</s>"),
        (
            {
                "chat_template": [
                    {"name": "tool_use", "template": "tools"},
                    {"name": "default", "template": "plain"},
                ]
            },
            "plain",
        ),
    ],
)
def test_of_a_folder(tmp_path: Path, settings: object, expected: str | None) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    template = ChatTemplate.of_model(tmp_path)
    assert (template and template.render(TALK)) == expected


def test_errors_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="template is broken"):
        ChatTemplate("{% for %}")
    with pytest.raises(UserError, match="refuses these messages: only users"):
        ChatTemplate("{{ raise_exception('only users') }}").render(TALK)
    with pytest.raises(UserError, match="refuses these messages"):
        ChatTemplate("{{ ''.__class__.__mro__ }}").render(TALK)  # the sandbox
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        ChatTemplate.of_model(tmp_path)
