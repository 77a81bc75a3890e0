"""Models of every family, made by transformers: our logits are theirs, however they are computed.

Theirs are always one pass without a cache over one text. Ours are the readable model's, the
engine's scores, its cached decoding, its ragged batches, and what it goes on from after a
request that began alike.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from airust.engines.model_tokenizer import ModelTokenizer
from airust.engines.torch import TorchEngine
from airust.gpt.checkpoint import load_model, save_model
from airust.gpt.config import GPTConfig
from airust.gpt.generate import generate
from airust.gpt.gguf import save_gguf
from airust.types import Completion, Request, SamplingParams, TopLogprob, UserError
from tests.engines.hf_models import (
    CONTEXT,
    MODELS,
    ORIGINAL,
    VOCAB,
    as_version_4,
    logits,
    logprobs,
    make,
)
from tests.engines.hf_tokenizers import write_tokenizer

NEW_TOKENS = 10
CLOSE = 1e-4
TOP = 40  # of the likeliest tokens are compared
STRETCHED = [name for name in MODELS if "longrope" in name or "partial" in name]


@dataclass
class Subject:
    """One model in transformers and in a folder."""

    theirs: Any
    folder: Path
    engine: TorchEngine


@pytest.fixture(scope="module", params=MODELS)
def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    theirs, folder = make(request.param), tmp_path_factory.mktemp("model")
    theirs.save_pretrained(folder)
    write_tokenizer("phi" if "phi" in request.param else "qwen", folder, VOCAB)
    with TorchEngine.load(folder, threads=1, prefill_chunk=16) as engine:
        yield Subject(theirs, folder, engine)


def some_ids(length: int, seed: int = 1) -> list[int]:
    return torch.randint(
        3, VOCAB, (length,), generator=torch.Generator().manual_seed(seed)
    ).tolist()


def ask(engine: TorchEngine, ids: list[int]) -> Completion:
    params = SamplingParams(max_tokens=NEW_TOKENS, logprobs=TOP, ignore_eos=True)
    return engine.generate(Request(token_ids=tuple(ids), params=params))


def assert_right(theirs: Any, prompt: list[int], answer: Completion) -> None:
    """Every distribution that a token was chosen from, and that it was the likeliest."""
    ids = list(prompt)
    tokens = [event for event in answer.tokens if event.token_id is not None]
    assert len(tokens) == NEW_TOKENS
    for event in tokens:
        expected = logprobs(theirs, ids)
        assert_close(event.top, expected)
        assert event.token_id is not None
        assert float(expected[event.token_id]) > float(expected.max()) - CLOSE
        ids.append(event.token_id)


def assert_close(top: Sequence[TopLogprob], expected: Tensor) -> None:
    """The likeliest tokens' logprobs, of all tokens' (V)."""
    assert len(top) == TOP
    index = torch.tensor([entry.token_id for entry in top])
    found = torch.tensor([entry.logprob for entry in top])
    torch.testing.assert_close(found, expected[index], atol=CLOSE, rtol=0)
    torch.testing.assert_close(found, expected.topk(TOP).values, atol=CLOSE, rtol=0)


def all_at_once(engine: TorchEngine, prompts: list[list[int]]) -> list[Completion]:
    answers: list[Completion | None] = [None] * len(prompts)

    def run(i: int) -> None:
        answers[i] = ask(engine, prompts[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answer for answer in answers if answer is not None]


def test_the_readable_model(subject: Subject) -> None:
    ours = load_model(subject.folder)
    for length in (ORIGINAL - 5, ORIGINAL, ORIGINAL + 1, CONTEXT):
        ids = some_ids(length)
        with torch.inference_mode():
            found = ours(torch.tensor([ids, ids[::-1]]))
        torch.testing.assert_close(found[0], logits(subject.theirs, ids), atol=CLOSE, rtol=0)
        torch.testing.assert_close(found[1], logits(subject.theirs, ids[::-1]), atol=CLOSE, rtol=0)


def test_scores(subject: Subject) -> None:
    for length in (20, 70):
        ids = some_ids(length + 1)
        scores = subject.engine.score(ids[:3], ids[3:], TOP)
        expected = logits(subject.theirs, ids[:-1])[2:].log_softmax(-1)
        for score, row, given in zip(scores, expected, ids[3:], strict=True):
            assert score.logprob == pytest.approx(float(row[given]), abs=CLOSE)
            assert_close(score.top, row)


@pytest.mark.parametrize("length", [9, ORIGINAL - 4, ORIGINAL, 60])
def test_cached_decoding(subject: Subject, length: int) -> None:
    prompt = some_ids(length, seed=length)
    assert_right(subject.theirs, prompt, ask(subject.engine, prompt))


def test_ragged_batches(subject: Subject) -> None:
    prompts = [some_ids(length, seed=length + 1) for length in (3, 50, 24, 31, 17, 40)]
    answers = all_at_once(subject.engine, prompts)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert_right(subject.theirs, prompt, answer)


def test_after_prefix_reuse(subject: Subject) -> None:
    """A second turn, another question behind the same beginning, and a beginning by itself."""
    prompt = some_ids(45, seed=7)
    first = ask(subject.engine, prompt)
    said = [t.token_id for t in first.tokens if t.token_id is not None]
    turn = [*prompt, *said, *some_ids(5, seed=8)]
    other = [*prompt[:40], *some_ids(6, seed=9)]
    for ids, least in ((turn, len(prompt) + NEW_TOKENS - 1), (other, 40), (prompt[:20], 0)):
        answer = ask(subject.engine, ids)
        assert answer.usage.cached_tokens >= least
        assert_right(subject.theirs, ids, answer)


@pytest.mark.parametrize("name", STRETCHED)
def test_longrope_never_mixes_keys_of_short_and_long_texts(name: str, tmp_path: Path) -> None:
    theirs = make(name)
    theirs.save_pretrained(tmp_path)
    write_tokenizer("phi", tmp_path, VOCAB)
    with TorchEngine.load(tmp_path, threads=1, max_batch=2, prefill_chunk=7) as engine:
        short, long = some_ids(ORIGINAL - 6, seed=3), some_ids(ORIGINAL + 9, seed=4)
        cached = []
        for ids in (
            short,  # grows beyond the original context, and is computed anew there
            [*short, 7, 8],  # still short: what the first left is of long kind
            [*short, 7, 9],
            [*short, 7, 8, *long],
            long,
            [*long, 5],
            long[:20],
        ):
            answer = ask(engine, ids)
            assert_right(theirs, ids, answer)
            cached.append(answer.usage.cached_tokens)
        assert cached == [0, 0, 0, len(short) + 2, 0, len(long), 0]
        prompts = [short, long, short[:9], [*short, 1], [*long, 2, 3], short[:20]]
        for prompt, answer in zip(prompts, all_at_once(engine, prompts), strict=True):
            assert_right(theirs, prompt, answer)


@pytest.mark.parametrize("chunk", [None, 10])
@pytest.mark.parametrize("name", STRETCHED)
def test_longrope_in_the_plain_loop(name: str, chunk: int | None, tmp_path: Path) -> None:
    theirs = make(name)
    theirs.save_pretrained(tmp_path)
    ours, params = load_model(tmp_path), SamplingParams(max_tokens=8)
    for length in (10, ORIGINAL - 3, ORIGINAL + 20):
        ids = some_ids(length, seed=length)
        for step in generate(ours, ids, params, chunk=chunk):
            expected = logprobs(theirs, ids)
            assert step.logprob == pytest.approx(float(expected.max()), abs=CLOSE)
            ids.append(step.token_id)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["llama 3", "qwen2", "qwen3", "phi3 longrope"])
def test_half_precision_files_in_float32(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    make(name).to(dtype).save_pretrained(tmp_path)
    write_tokenizer("qwen", tmp_path, VOCAB)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert {p.dtype for p in load_model(tmp_path, dtype=None).parameters()} == {dtype}
    assert {p.dtype for p in load_model(tmp_path).parameters()} == {torch.float32}
    with TorchEngine.load(tmp_path, threads=1) as engine:
        for length in (20, 50):
            assert_right(theirs, some_ids(length), ask(engine, some_ids(length)))


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_bfloat16_is_near(stored: torch.dtype, tmp_path: Path) -> None:
    theirs = make("phi3 longrope")
    theirs.to(stored).save_pretrained(tmp_path)
    write_tokenizer("phi", tmp_path, VOCAB)
    ids, expected = some_ids(50), logits(theirs.float(), some_ids(50)[:-1]).log_softmax(-1)
    with TorchEngine.load(tmp_path, threads=1, dtype="bfloat16") as engine:
        scores = engine.score(ids[:1], ids[1:])
    found = torch.tensor([score.logprob for score in scores])
    given = expected.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert float((found - given).abs().max()) < 0.1 * float(expected.std())


@pytest.mark.parametrize("name", ["llama bias", "phi3 partial"])
def test_sharded_files(name: str, tmp_path: Path) -> None:
    theirs = make(name)
    theirs.save_pretrained(tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    ids = some_ids(50)
    with torch.inference_mode():
        found = load_model(tmp_path)(torch.tensor([ids]))[0]
    torch.testing.assert_close(found, logits(theirs, ids), atol=CLOSE, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_configs_of_transformers_4(name: str, tmp_path: Path) -> None:
    theirs = make(name)
    theirs.save_pretrained(tmp_path)
    before = load_model(tmp_path).config
    as_version_4(tmp_path)
    assert load_model(tmp_path).config == before


@pytest.mark.parametrize("name", MODELS)
def test_what_we_write_transformers_reads(name: str, tmp_path: Path) -> None:
    """Saved by them, read and saved by us, read by them; and by us once more."""
    theirs = make(name)
    theirs.save_pretrained(tmp_path / "theirs")
    write_tokenizer("phi", tmp_path / "theirs", VOCAB)
    tokenizer, ours = ModelTokenizer.load(tmp_path / "theirs"), load_model(tmp_path / "theirs")
    save_model(ours, tokenizer, tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert type(again) is type(theirs)
    for length in (20, 50):
        ids = some_ids(length)
        torch.testing.assert_close(logits(again, ids), logits(theirs, ids), atol=1e-5, rtol=0)
    assert load_model(tmp_path / "ours").config == ours.config
    assert GPTConfig.from_dict(ours.config.to_dict()) == ours.config
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "ours" / name).read_text() == (tmp_path / "theirs" / name).read_text()


def test_the_names_that_longrope_had_at_first(tmp_path: Path) -> None:
    make("phi3 longrope").save_pretrained(tmp_path)
    expected = load_model(tmp_path).config
    as_version_4(tmp_path)
    path = tmp_path / "config.json"
    for old in ("su", "yarn"):
        path.write_text(path.read_text().replace('"longrope"', f'"{old}"'))
        assert load_model(tmp_path).config == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("phi3", "phi3 models"),
        ("llama 3", "the rotary scaling 'llama3'"),
        ("llama bias", "a bias on attention's output"),
    ],
)
def test_what_gguf_files_do_not_cover(name: str, words: str, tmp_path: Path) -> None:
    make(name).save_pretrained(tmp_path)
    write_tokenizer("qwen", tmp_path, VOCAB)
    with pytest.raises(UserError, match=words):
        save_gguf(tmp_path, tmp_path / "model.gguf")


def test_a_window_that_would_be_felt_is_refused(tmp_path: Path) -> None:
    make("phi3", sliding_window=CONTEXT - 1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=f"Sliding-window attention over {CONTEXT - 1} positions"):
        load_model(tmp_path)
