"""The torch engine by itself; what all engines share is in test_contract.py."""

from __future__ import annotations

import gc
import queue
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from airust.engines.torch import TorchEngine
from airust.engines.torch.forward import FastGPT
from airust.engines.torch.job import Job
from airust.gpt.checkpoint import load_model
from airust.gpt.generate import generate
from airust.gpt.model import GPT
from airust.gpt.tokenizer import Tokenizer
from airust.types import (
    ContextOverflowError,
    DoneEvent,
    EngineError,
    ErrorEvent,
    Event,
    Request,
    SamplingParams,
    TokenEvent,
    UserError,
)
from tests.engines.torch.answers import TIMEOUT_S, Answer, ids_request

PROMPTS = [[40 + i, 7, *range(50, 50 + 5 * i)] for i in range(8)]
SAMPLED = [
    SamplingParams(max_tokens=30),
    SamplingParams(max_tokens=25, temperature=1.0, seed=1),
    SamplingParams(max_tokens=30, temperature=0.8, top_p=0.9, seed=2),
    SamplingParams(max_tokens=12, temperature=1.2, top_k=9, min_p=0.02, seed=3),
    SamplingParams(max_tokens=30, repetition_penalty=1.4),
    SamplingParams(max_tokens=1, temperature=0.5, seed=4),
    SamplingParams(max_tokens=20, temperature=1.0, repetition_penalty=1.2, seed=5),
    SamplingParams(max_tokens=30, temperature=0.7, seed=6, ignore_eos=True),
]


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Iterator[TorchEngine]:
    with TorchEngine.load(model_dir, threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def model(model_dir: Path) -> GPT:
    return load_model(model_dir)


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> Tokenizer:
    return Tokenizer.load(model_dir)


def plain(model: GPT, tokenizer: Tokenizer, prompt: list[int], params: SamplingParams) -> list[int]:
    eos = (tokenizer.turn_end, tokenizer.end_of_text)
    return [step.token_id for step in generate(model, prompt, params, eos)]


def test_a_batch_of_all_kinds_is_what_each_is_alone(
    engine: TorchEngine, model: GPT, tokenizer: Tokenizer
) -> None:
    """Tokens of the plain loop in airust.gpt.generate, whatever else is in the batch."""
    expected = [plain(model, tokenizer, *one) for one in zip(PROMPTS, SAMPLED, strict=True)]
    for _ in range(2):  # the second time from the prefix cache
        answers = [
            Answer(engine, Request(token_ids=tuple(prompt), params=params))
            for prompt, params in zip(PROMPTS, SAMPLED, strict=True)
        ]
        assert [answer.ids() for answer in answers] == expected


def test_sixty_four_streams(model_dir: Path, model: GPT, tokenizer: Tokenizer) -> None:
    with TorchEngine.load(model_dir, max_batch=24, prefill_chunk=50, threads=1) as engine:
        answers = [
            Answer(engine, ids_request([i % 7 + 40, 8, *range(50, 50 + i)], max_tokens=1 + i % 13))
            for i in range(64)
        ]
        for i, answer in enumerate(answers):
            prompt, params = [i % 7 + 40, 8, *range(50, 50 + i)], SamplingParams(1 + i % 13)
            assert answer.ids() == plain(model, tokenizer, prompt, params)


def test_logprobs_are_those_of_the_model(engine: TorchEngine, model: GPT) -> None:
    params = SamplingParams(max_tokens=9, temperature=0.8, seed=1, logprobs=3, ignore_eos=True)
    answer = engine.generate(Request(token_ids=tuple(PROMPTS[3]), params=params))
    expected = list(generate(model, PROMPTS[3], params))
    events = [event for event in answer.tokens if event.token_id is not None]
    assert [event.token_id for event in events] == [step.token_id for step in expected]
    for event, step in zip(events, expected, strict=True):
        assert event.logprob == pytest.approx(step.logprob, abs=1e-4)
        assert [top.token_id for top in event.top] == [token for token, _ in step.top]
        assert [top.logprob for top in event.top] == pytest.approx(
            [logprob for _, logprob in step.top], abs=1e-4
        )


@torch.inference_mode()
def test_score(engine: TorchEngine, model: GPT, tokenizer: Tokenizer) -> None:
    ids = [5 + i * 17 % 300 for i in range(256)]
    expected = model(torch.tensor([ids]))[0].log_softmax(-1)
    for split, end in ((1, 256), (200, 256), (3, 5)):
        scores = engine.score(ids[:split], ids[split:end], top_k=4)
        assert len(scores) == end - split
        for i, score in enumerate(scores):
            row = expected[split + i - 1]
            assert score.logprob == pytest.approx(float(row[ids[split + i]]), abs=1e-4)
            assert [t.token_id for t in score.top] == row.topk(4).indices.tolist()
            assert score.top[0].text == tokenizer.decode([row.argmax()], skip_special=False)
    assert engine.score([1], []) == []
    with pytest.raises(ContextOverflowError):
        engine.score([5] * 200, [6] * 100)
    with pytest.raises(UserError, match="vocabulary"):
        engine.score([5], [100_000])
    with pytest.raises(UserError, match="at least one token"):
        engine.score([], [5])


def test_two_hundred_cancels_leak_nothing(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, max_batch=4, threads=1) as engine:
        for i in range(200):
            answer = Answer(engine, ids_request([40 + i % 5, 9], max_tokens=100))
            answer.handle.cancel()
        answer.wait()
        assert engine._loaded is not None
        assert engine._loaded.slots.busy == {}
        assert engine._loaded.slots.cache.slots == 4


def test_one_stream_does_not_pay_for_many(engine: TorchEngine, model_dir: Path) -> None:
    with TorchEngine.load(model_dir, threads=1) as fresh:
        fresh.generate(ids_request([40], max_tokens=20))
        assert fresh._loaded is not None
        assert fresh._loaded.slots.cache.slots == 4


def test_where_memory_is_short_requests_take_turns(model_dir: Path) -> None:
    # A position of this model takes 2 * 2 layers * 2 heads * 16 numbers * 4 bytes = 512 bytes.
    with TorchEngine.load(model_dir, cache_mib=1, threads=1, max_batch=64) as engine:
        answers = [Answer(engine, ids_request([40 + i], max_tokens=200)) for i in range(30)]
        assert all(isinstance(answer.wait(), DoneEvent) for answer in answers)
        assert engine._loaded is not None
        cache = engine._loaded.slots.cache
        assert cache.size(cache.slots, cache.capacity) <= 1 << 20


def test_a_failing_step_fails_its_requests_and_nothing_else(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, broken = FastGPT.forward, [True]

    def sometimes(*arguments: Any) -> Any:
        if broken:
            raise RuntimeError("out of luck\nat line 5")
        return forward(*arguments)

    with TorchEngine.load(model_dir, threads=1) as engine:
        monkeypatch.setattr(FastGPT, "forward", sometimes)
        for _ in range(2):
            with pytest.raises(EngineError, match=r"^The torch engine failed: out of luck\.$"):
                engine.generate(ids_request([40, 41], max_tokens=5))
        broken.clear()
        answer = engine.generate(ids_request([40, 41], max_tokens=5, ignore_eos=True))
        assert answer.usage.completion_tokens == 5


def test_a_failing_callback_harms_nobody_else(engine: TorchEngine) -> None:
    def fail(event: Event) -> None:
        raise ValueError("callback")

    other = Answer(engine, ids_request([40], max_tokens=60, ignore_eos=True))
    engine.submit(ids_request([41], max_tokens=5), fail)
    assert len(other.ids()) == 60
    answer = engine.generate(ids_request([41], max_tokens=5, ignore_eos=True))
    assert answer.usage.completion_tokens == 5


def test_no_memory_for_a_larger_cache(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, max_batch=8, threads=1) as engine:
        assert engine._loaded is not None

        def no_memory(slots: int, capacity: int) -> torch.Tensor:
            raise RuntimeError("can't allocate memory")

        engine._loaded.slots.cache._zeros = no_memory  # type: ignore[method-assign]
        answers = [
            Answer(engine, ids_request([40 + i], max_tokens=200, ignore_eos=True)) for i in range(5)
        ]
        ends = [answer.wait() for answer in answers]
        assert [type(end) for end in ends] == [DoneEvent] * 4 + [ErrorEvent]


def test_damaged_weights_are_said(model_dir: Path, tokenizer: Tokenizer) -> None:
    model = load_model(model_dir)
    with torch.no_grad():
        model.norm.weight.fill_(torch.nan)
    with (
        TorchEngine(model, tokenizer) as engine,
        pytest.raises(EngineError, match="not a number"),
    ):
        engine.generate(ids_request([40], max_tokens=5))


@pytest.mark.parametrize("family", ["Qwen3", "Qwen2", "Llama"])
@torch.inference_mode()
def test_folders_of_transformers(family: str, model_dir: Path, tmp_path: Path) -> None:
    """Greedy tokens through the cache as transformers generates them."""
    config = getattr(transformers, f"{family}Config")(
        vocab_size=411, hidden_size=48, intermediate_size=80, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
        tie_word_embeddings=family == "Qwen2", initializer_range=0.3, pad_token_id=0,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    for name, weight in theirs.named_parameters():
        if name.endswith(("norm.weight", "bias")):  # away from where they start
            weight.add_(torch.randn_like(weight), alpha=0.3)
    theirs.save_pretrained(tmp_path)
    shutil.copy(model_dir / "tokenizer.json", tmp_path)
    expected = theirs.generate(torch.tensor([PROMPTS[2]]), max_new_tokens=30, do_sample=False)
    with TorchEngine.load(tmp_path, threads=1) as engine:
        tokens = engine.greedy(PROMPTS[2], 30)
    assert [t.token_id for t in tokens] == expected[0, len(PROMPTS[2]) :].tolist()


def test_bfloat16(model_dir: Path) -> None:
    with TorchEngine.load(model_dir, dtype="bfloat16", threads=1) as engine:
        assert engine.settings["dtype"] == "bfloat16"
        assert len(Answer(engine, ids_request([40], max_tokens=9, ignore_eos=True)).ids()) == 9


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("dtype", "int4"),
        ("threads", 0),
        ("threads", "2"),
        ("max_batch", 0),
        ("max_queue", True),
        ("prefill_chunk", None),
        ("cache_mib", 0.5),
        ("prefix_cache", 1),
    ],
)
def test_bad_options(model_dir: Path, option: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^{option} is"):
        TorchEngine.load(model_dir, **{option: value})


def test_a_foreign_tokenizer_is_refused(model_dir: Path, tokenizer: Tokenizer) -> None:
    from airust.gpt.config import GPTConfig

    small = GPT(GPTConfig(vocab_size=tokenizer.vocab_size - 1, layers=1, hidden_size=8))
    with pytest.raises(UserError, match="do not belong together"):
        TorchEngine(small, tokenizer)


def test_settings(engine: TorchEngine, model_dir: Path) -> None:
    assert engine.settings["threads"] == 1
    assert engine.settings["max_batch"] == 64
    with TorchEngine.load(model_dir, threads=2) as adapting:
        assert adapting.settings["threads"] == "1 or 2"


def test_a_forgotten_engine_is_freed(model_dir: Path) -> None:
    engine = TorchEngine.load(model_dir, threads=1)
    engine.generate(ids_request([40], max_tokens=2))
    assert engine._loaded is not None
    thread, model = engine._loaded.scheduler._thread, weakref.ref(engine._loaded.model)
    del engine
    gc.collect()
    assert thread is not None
    assert not thread.is_alive()
    assert model() is None


def test_closing_from_a_callback(model_dir: Path) -> None:
    engine = TorchEngine.load(model_dir, threads=1)
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def close(event: Event) -> None:
        engine.close()
        inbox.put(event)

    engine.submit(ids_request([40], max_tokens=200), close)
    assert isinstance(inbox.get(timeout=TIMEOUT_S), TokenEvent)
    done = inbox.get(timeout=TIMEOUT_S)
    assert isinstance(done, DoneEvent)
    assert done.finish_reason == "cancelled"


def test_the_thread_count_is_put_back(model_dir: Path) -> None:
    before = torch.get_num_threads()
    with TorchEngine.load(model_dir, threads=1) as engine:
        engine.generate(ids_request([40], max_tokens=3))
    assert torch.get_num_threads() == before


def test_a_job_is_its_own_handle(engine: TorchEngine) -> None:
    answer = Answer(engine, ids_request([40], max_tokens=2))
    assert isinstance(answer.handle, Job)
    answer.wait()
    answer.handle.cancel()  # too late, and harmless
