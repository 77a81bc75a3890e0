"""Generation: with a cache as without one, against transformers, and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from airust.gpt.checkpoint import load_model
from airust.gpt.config import GPTConfig
from airust.gpt.generate import generate, generate_text, prefill, stream_text
from airust.gpt.kv_cache import KVCache
from airust.gpt.model import GPT
from airust.gpt.tokenizer import Tokenizer
from airust.types import ContextOverflowError, Message, SamplingParams, UserError

PROMPT = [40, 7, 99, 12, 5, 63]
SHAPES: dict[str, dict[str, Any]] = {
    "multi-head": {"heads": 4, "kv_heads": 4, "head_dim": 8},
    "grouped": {"heads": 4, "kv_heads": 2, "head_dim": 8},
    "one kv head": {"heads": 3, "kv_heads": 1, "head_dim": 6},
    "odd sizes": {"hidden_size": 33, "heads": 5, "kv_heads": 5, "head_dim": 10, "ffn_size": 47},
    "qwen2": {"heads": 4, "kv_heads": 2, "head_dim": 8, "qk_norm": False, "qkv_bias": True},
    "llama, untied": {
        "heads": 2, "kv_heads": 2, "head_dim": 16, "qk_norm": False, "tie_embeddings": False,
    },
}  # fmt: skip


def random_model(**changes: Any) -> GPT:
    sizes = {"vocab_size": 131, "hidden_size": 32, "layers": 3, "ffn_size": 40, "context": 48}
    model = GPT(GPTConfig(**sizes | changes))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.dim() == 1 else 0.0, 0.15, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def model(model_dir: Path) -> GPT:
    return load_model(model_dir)


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> Tokenizer:
    return Tokenizer.load(model_dir)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chunks", [[48], [1] * 48, [5, 1, 1, 16, 3, 21, 1]])
@torch.inference_mode()
def test_cached_logits_equal_uncached(shape: str, chunks: list[int]) -> None:
    model = random_model(**SHAPES[shape])
    ids = torch.randint(0, 131, (2, 48), generator=torch.Generator().manual_seed(2))
    cache = KVCache(model.config, batch=2)
    pieces = [model(part, cache=cache) for part in ids.split(chunks, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(ids), atol=1e-5, rtol=0)
    assert cache.length == 48
    with pytest.raises(ContextOverflowError, match="48"):
        model(ids[:, :1], cache=cache)


@torch.inference_mode()
def test_chunked_prefill(model: GPT) -> None:
    whole = prefill(model, PROMPT, KVCache(model.config))
    for chunk in (1, 2, 4, 6, 100):
        logits = prefill(model, PROMPT, KVCache(model.config), chunk)
        torch.testing.assert_close(logits, whole, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_cache_truncate_and_select(model: GPT) -> None:
    cache = KVCache(model.config, batch=3, capacity=20)
    expected = prefill(model, PROMPT, cache)
    cache.truncate(4)
    torch.testing.assert_close(prefill(model, PROMPT[4:], cache), expected, atol=1e-5, rtol=0)
    cache.select(torch.tensor([0, 0, 0]))
    next_tokens = torch.tensor([[1], [2], [3]])
    logits = model(next_tokens, cache=cache)[:, -1]
    rows = torch.tensor([[*PROMPT, token] for token in (1, 2, 3)])
    torch.testing.assert_close(logits, model(rows)[:, -1], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_greedy_is_that_of_transformers(model: GPT, model_dir: Path) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model_dir)
    theirs.generation_config.eos_token_id = None
    for penalty in (1.0, 1.3):
        ids = theirs.generate(
            torch.tensor([PROMPT]), max_new_tokens=40, do_sample=False, repetition_penalty=penalty,
            pad_token_id=0,
        )  # fmt: skip
        params = SamplingParams(max_tokens=40, repetition_penalty=penalty)
        assert [step.token_id for step in generate(model, PROMPT, params)] == ids[0, 6:].tolist()


@torch.inference_mode()
def test_logprobs_are_those_of_the_model(model: GPT) -> None:
    params = SamplingParams(max_tokens=8, temperature=0.7, top_k=3, seed=1, logprobs=4)
    ids = list(PROMPT)
    for step in generate(model, PROMPT, params):
        expected = model(torch.tensor([ids]))[0, -1].log_softmax(-1)
        assert step.logprob == pytest.approx(float(expected[step.token_id]), abs=1e-5)
        assert [token for token, _ in step.top] == expected.topk(4).indices.tolist()
        assert [p for _, p in step.top] == pytest.approx(expected.topk(4).values.tolist(), abs=1e-5)
        ids.append(step.token_id)
    assert len(ids) == len(PROMPT) + 8


def test_the_same_seed_gives_the_same_tokens(model: GPT) -> None:
    def sample(seed: int) -> list[int]:
        params = SamplingParams(max_tokens=20, temperature=1.0, top_p=0.95, seed=seed)
        return [step.token_id for step in generate(model, PROMPT, params)]

    assert sample(1) == sample(1) != sample(2)


def test_where_generation_ends(model: GPT) -> None:
    tokens = [s.token_id for s in generate(model, PROMPT, SamplingParams(max_tokens=12))]
    eos = tokens[5]
    before = tokens[: tokens.index(eos)]
    assert [s.token_id for s in generate(model, PROMPT, SamplingParams(), [eos])] == before
    ignoring = SamplingParams(max_tokens=12, ignore_eos=True)
    assert [s.token_id for s in generate(model, PROMPT, ignoring, [eos])] == tokens
    long = [5] * 250
    assert len(list(generate(model, long, SamplingParams(max_tokens=100)))) == 6
    with pytest.raises(ContextOverflowError, match=r"256 tokens .* 256"):
        next(generate(model, [5] * 256, SamplingParams()))
    with pytest.raises(UserError, match="at least one token"):
        next(generate(model, [], SamplingParams()))


def test_text(model: GPT, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=30)
    messages = (Message("user", "hello"),)
    for prompt, ids in (
        ("Paris", tokenizer.encode("Paris")),
        (messages, tokenizer.encode_chat(messages)),
    ):
        eos = (tokenizer.turn_end, tokenizer.end_of_text)
        expected = tokenizer.decode([s.token_id for s in generate(model, ids, params, eos)])
        assert len(expected) > 5
        assert generate_text(model, tokenizer, prompt, params) == expected
        stop = expected[2:5]
        stopped = SamplingParams(max_tokens=30, stop=(stop,))
        text = "".join(stream_text(model, tokenizer, prompt, stopped))
        assert text == expected[: expected.index(stop)]
