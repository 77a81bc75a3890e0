"""Tokenizers in the shapes of real models: the ids, chats and texts are those of transformers."""

from __future__ import annotations

import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from airust.engines.model_tokenizer import ModelTokenizer
from airust.engines.registry import load_engine
from airust.gpt.checkpoint import save_model
from airust.gpt.config import GPTConfig
from airust.gpt.model import GPT
from airust.gpt.text import TextStream, token_text
from airust.gpt.tokenizer import Tokenizer
from airust.types import Message, Request, SamplingParams, UnsupportedError, UserError
from tests.engines.hf_tokenizers import PARTS, write_tokenizer

TEXTS = (
    "What is the capital of France?",
    " leading,  double and trailing ",
    "水为什么往低处流？\n\n👩‍🚀 e\u0301",
    "a<0x41>▁b",
    "\n",
    "",
)
TALK = (
    Message("user", " the borrow checker\n"),
    Message("assistant", "proves it. 水"),
    Message("user", "  capital?"),
)


@pytest.fixture(scope="module", params=sorted(PARTS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / str(request.param)
    write_tokenizer(request.param, path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> ModelTokenizer:
    return ModelTokenizer.load(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_a_prompt_has_their_ids(tokenizer: ModelTokenizer, theirs: Any, text: str) -> None:
    assert tokenizer.encode(text) == theirs(text)["input_ids"]


@pytest.mark.parametrize("turns", [TALK, TALK[:1], (Message("system", "Be brief."), *TALK)])
def test_a_chat_has_their_ids(
    tokenizer: ModelTokenizer, theirs: Any, turns: tuple[Message, ...]
) -> None:
    messages = [{"role": m.role, "content": m.content} for m in turns]
    expected = theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert tokenizer.encode_chat(turns) == expected


def test_ends_of_an_answer(tokenizer: ModelTokenizer, folder: Path) -> None:
    parts, ends = PARTS[folder.name]
    expected = {tokenizer.backend.token_to_id(token) for token in (*ends, parts["eos_token"])}
    assert set(tokenizer.eos_ids) == expected


def test_streamed_pieces_join_to_their_text(tokenizer: ModelTokenizer, theirs: Any) -> None:
    rng = random.Random(0)
    ordinary = [i for i in range(tokenizer.vocab_size) if "\ufffd" not in tokenizer.decode([i])]
    runs = [tokenizer.backend.encode(text, add_special_tokens=False).ids for text in TEXTS]
    runs += [rng.choices(ordinary, k=30) for _ in range(30)]
    for ids in runs:
        stream = TextStream(tokenizer.decode)
        text = "".join([*(stream.push(i) for i in ids), stream.finish()])
        assert text == theirs.decode(ids, skip_special_tokens=True)
        assert "\ufffd" not in text


def test_stop_strings_begin_where_a_token_does(tokenizer: ModelTokenizer) -> None:
    """The space before a word belongs to its token, also where the decoder would drop it."""
    ids = tokenizer.backend.encode("the capital of France", add_special_tokens=False).ids
    stream = TextStream(tokenizer.decode, [" of"])
    assert "".join(stream.push(i) for i in ids) + stream.finish() == "the capital"
    assert stream.stopped


def test_the_text_of_single_tokens(tokenizer: ModelTokenizer) -> None:
    decode = partial(tokenizer.decode, skip_special=False)
    ids = tokenizer.backend.encode("France is the  capital", add_special_tokens=False).ids
    texts = [token_text(decode, i) for i in ids]
    assert "".join(texts).removeprefix(" ") == "France is the  capital"
    end = tokenizer.eos_ids[0]
    assert token_text(decode, end) == tokenizer.backend.id_to_token(end)


def test_special_tokens_in_a_prompt_are_text(tokenizer: ModelTokenizer) -> None:
    special = set(tokenizer.eos_ids)
    for token_id in tokenizer.eos_ids:
        token = tokenizer.backend.id_to_token(token_id)
        assert not special & set(tokenizer.encode(f"a{token}b"))


def test_several_threads(tokenizer: ModelTokenizer) -> None:
    expected = tokenizer.encode_chat(TALK), tokenizer.encode(TEXTS[2]), tokenizer.decode([70] * 9)

    def work(_: int) -> tuple[list[int], list[int], str]:
        return tokenizer.encode_chat(TALK), tokenizer.encode(TEXTS[2]), tokenizer.decode([70] * 9)

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(work, range(400)))


def test_half_a_surrogate_pair(tokenizer: ModelTokenizer) -> None:
    with pytest.raises(UserError, match="surrogate"):
        tokenizer.encode_chat([Message("user", "\ud800")])


def test_our_own_models_keep_their_ids(model_dir: Path) -> None:
    ours, plain = ModelTokenizer.load(model_dir), Tokenizer.load(model_dir)
    talk = (*TALK, Message("user", "<|im_end|> spelled out"))
    assert ours.encode_chat(talk) == plain.encode_chat(talk)
    assert ours.eos_ids == plain.eos_ids
    assert all(ours.encode(text) == plain.encode(text) for text in TEXTS)
    assert ours.files() == plain.files()


def test_a_model_without_a_chat_form(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    tokenizer = ModelTokenizer.load(tmp_path)
    if tokenizer.has_chat_form:  # ChatML by its tokens
        assert tokenizer.encode_chat(TALK) == Tokenizer.load(folder).encode_chat(TALK)
    else:
        with pytest.raises(UnsupportedError, match="no chat template"):
            tokenizer.encode_chat(TALK)


@pytest.mark.parametrize("value", ["end", [1, "end"], {"a": 1}])
def test_an_end_that_is_no_token(folder: Path, tmp_path: Path, value: object) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": value}))
    with pytest.raises(UserError, match=r"config.json' has the eos_token_id .* no token id"):
        ModelTokenizer.load(tmp_path)


@pytest.mark.parametrize("engine", ["torch", "transformers"])
@pytest.mark.parametrize("end", [0, -1])
def test_an_answer_ends_at_any_of_the_models_ends(
    folder: Path, tmp_path: Path, engine: str, end: int
) -> None:
    """A model that says one text, whatever it is asked, and then one of its end tokens."""
    write_tokenizer(folder.name, tmp_path)
    tokenizer = ModelTokenizer.load(tmp_path)
    said = tokenizer.backend.encode("France is 水.", add_special_tokens=False).ids
    assert len(set(said)) == len(said)
    save_model(_parrot(tokenizer, [*said, tokenizer.eos_ids[end]]), tokenizer, tmp_path)
    write_tokenizer(folder.name, tmp_path)  # the generation settings, too
    with load_engine(engine, tmp_path) as loaded:
        request = Request(messages=TALK, params=SamplingParams(max_tokens=50, logprobs=2))
        answer = loaded.generate(request)
    assert (answer.text, answer.finish_reason) == ("France is 水.", "stop")
    assert answer.usage.completion_tokens == len(said) + 1
    top = "".join(event.top[0].text for event in answer.tokens if event.top)
    assert "France" in top.replace("\ufffd", "")


def _parrot(tokenizer: Tokenizer, words: list[int]) -> GPT:
    """As the reciter in conftest.py: the next token depends on the last one only."""
    size = -(-tokenizer.vocab_size // 8) * 8
    config = GPTConfig(
        tokenizer.vocab_size, hidden_size=size, layers=1, heads=2, kv_heads=1, head_dim=16,
        ffn_size=32, tie_embeddings=False,
    )  # fmt: skip
    successor = dict.fromkeys(range(tokenizer.vocab_size), words[0])
    successor |= dict(pairwise(words))
    model = GPT(config)
    with torch.no_grad():
        model.embed_tokens.weight.copy_(torch.eye(tokenizer.vocab_size, size))
        model.lm_head.weight.zero_()
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
        for token, following in successor.items():
            model.lm_head.weight[following, token] = 1
    return model
