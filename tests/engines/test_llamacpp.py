"""llama.cpp: equal to our own model, several requests at once, files found, made and refused."""

from __future__ import annotations

import gc
import importlib
import queue
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from airust.engines.base import Engine
from airust.engines.llamacpp import LlamaCppEngine
from airust.engines.llamacpp import context as context_module
from airust.engines.llamacpp import engine as engine_module
from airust.engines.llamacpp import tokenizer as tokenizer_module
from airust.engines.llamacpp.context import BATCH_TOKENS, LlamaContext, library
from airust.engines.model_tokenizer import ModelTokenizer
from airust.engines.registry import load_engine
from airust.gpt.checkpoint import load_model, save_model
from airust.gpt.config import GPTConfig
from airust.gpt.generate import generate
from airust.gpt.gguf import gguf_source, save_gguf
from airust.gpt.model import GPT
from airust.gpt.tokenizer import Tokenizer, character_tokenizer, train_bpe
from airust.types import (
    ContextOverflowError,
    DoneEvent,
    EngineError,
    EngineUnavailableError,
    ErrorEvent,
    Event,
    Message,
    Request,
    SamplingParams,
    UserError,
)
from tests.engines.hf_models import VOCAB, make
from tests.engines.hf_tokenizers import write_tokenizer

pytest.importorskip("llama_cpp", exc_type=ImportError)

TIMEOUT_S = 60
SENTENCES = ("The capital of France is Paris.", "水为什么往低处流？", "user assistant system") * 3
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"head_dim": 24},
    "qwen2": {"qk_norm": False, "qkv_bias": True},
    "llama": {"qk_norm": False, "tie_embeddings": False, "norm_eps": 1e-5},
}
CHAT = Request(messages=(Message("user", "What is 水?"),), params=SamplingParams(max_tokens=8))


def write_model(folder: Path, tokenizer: Tokenizer, seed: int = 0, **flags: Any) -> Path:
    """A random model whose likeliest tokens differ clearly, so that rounding decides nothing."""
    sizes: dict[str, Any] = {"hidden_size": 64, "layers": 2, "heads": 4, "kv_heads": 2}
    sizes |= {"head_dim": 16, "ffn_size": 96, "context": 1024} | flags
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **sizes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                gain = {"o_proj": 6.0, "down_proj": 6.0}.get(name.split(".")[-2], 1.5)
                std = 0.3 if "embed" in name else gain * weight.shape[1] ** -0.5
                weight.normal_(std=std, generator=generator)
            else:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)
    save_model(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, tokenizer = tmp_path_factory.mktemp("families"), train_bpe(SENTENCES, 320)
    return {name: write_model(root / name, tokenizer, **FAMILIES[name]) for name in FAMILIES}


@pytest.fixture(scope="module")
def folder(folders: dict[str, Path]) -> Path:
    return folders["qwen3"]


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[LlamaCppEngine]:
    # More threads than free cores make llama.cpp wait for itself.
    with LlamaCppEngine.load(folder, threads=1, max_batch=4) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def model(folder: Path) -> GPT:
    return load_model(folder)


@pytest.fixture()
def copy(folder: Path, tmp_path: Path) -> Path:
    """A folder of one's own, not converted yet."""
    target = tmp_path / "copy"
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.gguf"))
    return target


def random_ids(count: int, seed: int = 0) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(3, 300, (count,), generator=generator).tolist())


def run(engine: Engine, *requests: Request) -> list[tuple[list[int], DoneEvent]]:
    """Answer all at once; the tokens and the end of each."""
    inboxes: list[queue.Queue[Event]] = [queue.Queue() for _ in requests]
    for request, inbox in zip(requests, inboxes, strict=True):
        engine.submit(request, inbox.put)
    answers = []
    for inbox in inboxes:
        tokens: list[int] = []
        while not isinstance(event := inbox.get(timeout=TIMEOUT_S), DoneEvent):
            assert not isinstance(event, ErrorEvent), event
            tokens += [event.token_id] if event.token_id is not None else []
        answers.append((tokens, event))
    return answers


def by_ids(ids: Sequence[int], **params: Any) -> Request:
    settings = SamplingParams(**{"max_tokens": 20, "ignore_eos": True} | params)
    return Request(token_ids=tuple(ids), params=settings)


def greedy_reference(model: GPT, ids: Sequence[int], count: int) -> tuple[list[int], list[float]]:
    """Without a cache, so that it shares nothing with what it judges."""
    so_far, logprobs = list(ids), []
    for _ in range(count):
        with torch.no_grad():
            row = model(torch.tensor([so_far]))[0, -1].log_softmax(-1)
        so_far.append(int(row.argmax()))
        logprobs.append(float(row.max()))
    return so_far[len(ids) :], logprobs


# The same function as the other engines


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_as_our_own_model(family: str, folders: dict[str, Path]) -> None:
    ids = random_ids(50, seed=1)
    expected, logprobs = greedy_reference(load_model(folders[family]), ids, 40)
    with LlamaCppEngine.load(folders[family], threads=1, max_batch=2) as engine:
        events = engine.greedy(ids, 40, top_k=3)
        scores = engine.score(ids, expected, top_k=3)
    assert [e.token_id for e in events] == expected
    assert [e.logprob for e in events] == pytest.approx(logprobs, abs=1e-4)
    assert [s.logprob for s in scores] == pytest.approx(logprobs, abs=1e-4)
    assert all(s.top[0].token_id == t for s, t in zip(scores, expected, strict=True))
    assert all(len(e.top) == 3 for e in events)


@pytest.mark.parametrize("other", ["mistralrs", "mistralrs, GGUF", "transformers"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_as_other_engines(
    family: str, other: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    name, _, gguf = other.partition(", ")
    folder = file = folders[family]
    if gguf:
        file = tmp_path / "m.gguf"
        save_gguf(folder, file)
    text = "The capital of France, 水"
    ids = Tokenizer.load(folder).encode(text)
    with LlamaCppEngine.load(file, threads=1, max_batch=2) as engine:
        ours = engine.greedy(ids, 32, top_k=1)
    options: dict[str, object] = {} if name == "mistralrs" else {"threads": 1}
    with load_engine(name, file, **options) as engine:
        theirs = engine.greedy(ids, 32, top_k=1)
    assert [e.token_id for e in theirs] == [e.token_id for e in ours]
    deltas = [abs(a.logprob - b.logprob) for a, b in zip(ours, theirs, strict=True)]
    assert max(deltas) < 1e-3


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 1.0, "seed": 7},
        {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "seed": 1},
        {"temperature": 1.5, "min_p": 0.05, "seed": 2**40},
        {"repetition_penalty": 1.7},
        {"temperature": 1.0, "repetition_penalty": 1.3, "seed": 3},
    ],
)
def test_the_same_choices_as_our_own_loop(
    params: dict[str, Any], engine: LlamaCppEngine, model: GPT
) -> None:
    request = by_ids(random_ids(30), **params)
    expected = [s.token_id for s in generate(model, random_ids(30), request.params)]
    assert [tokens for tokens, _ in run(engine, request, request)] == [expected] * 2


def test_prompt_ids_are_those_of_our_tokenizer(engine: LlamaCppEngine, folder: Path) -> None:
    tokenizer = Tokenizer.load(folder)
    assert CHAT.messages is not None
    ids = tokenizer.encode_chat(CHAT.messages)
    assert run(engine, CHAT)[0][1].usage.prompt_tokens == len(ids)
    assert (
        run(engine, CHAT)[0][0]
        == run(engine, Request(token_ids=tuple(ids), params=CHAT.params))[0][0]
    )


def test_the_models_own_chat_form(tmp_path: Path) -> None:
    """Qwen's template puts a system message in front; the ids are those of the torch engine."""
    make("qwen2").save_pretrained(tmp_path)
    write_tokenizer("qwen", tmp_path, VOCAB)
    assert CHAT.messages is not None
    ids = ModelTokenizer.load(tmp_path).encode_chat(CHAT.messages)
    assert len(ids) > len(Tokenizer.load(tmp_path).encode_chat(CHAT.messages))
    with load_engine("torch", tmp_path, threads=1) as engine:
        expected = run(engine, CHAT)[0][0]
    for source in (tmp_path, tmp_path / "model-f32.gguf"):
        with LlamaCppEngine.load(source, threads=1, max_batch=1) as engine:
            tokens, done = run(engine, CHAT)[0]
        assert (done.usage.prompt_tokens, tokens) == (len(ids), expected)


@pytest.mark.parametrize("dtype", ["bf16", "q8_0"])
def test_fewer_bits(dtype: str, copy: Path, model: GPT) -> None:
    ids = random_ids(30)
    expected, logprobs = greedy_reference(model, ids, 12)
    with LlamaCppEngine.load(copy, dtype=dtype, threads=1, max_batch=1) as engine:
        scores = [s.logprob for s in engine.score(ids, expected)]
        assert engine.settings["dtype"] == {"bf16": "bfloat16"}.get(dtype, dtype)
    assert scores == pytest.approx(logprobs, abs=0.3)
    assert scores != pytest.approx(logprobs, abs=1e-4)


def test_a_character_model(tmp_path: Path) -> None:
    tokenizer = character_tokenizer(["to be or not"])
    write_model(tmp_path, tokenizer, context=64)
    ids = tokenizer.encode("to be 水")
    expected, _ = greedy_reference(load_model(tmp_path), ids, 12)
    with LlamaCppEngine.load(tmp_path, threads=1) as engine:
        params = SamplingParams(max_tokens=12, ignore_eos=True)
        assert run(engine, Request(prompt="to be 水", params=params))[0][0] == expected
        assert [e.token_id for e in engine.greedy(ids, 12)] == expected


# Several requests


def test_many_at_once_as_each_alone(engine: LlamaCppEngine) -> None:
    """More than there are slots, of all lengths, one in several chunks."""
    lengths = (1, 700, 3, 40, 2 * BATCH_TOKENS - 20, 7, 300, 20, 11)
    requests = [by_ids(random_ids(n, seed=n), max_tokens=5 + n % 7) for n in lengths]
    alone = [run(engine, request)[0][0] for request in requests]
    assert [tokens for tokens, _ in run(engine, *requests)] == alone


def test_scoring_beside_generating(engine: LlamaCppEngine) -> None:
    ids = random_ids(900, seed=5)
    alone = [s.logprob for s in engine.score(ids[:10], ids[10:])]
    scores: list[float] = []
    thread = threading.Thread(
        target=lambda: scores.extend(s.logprob for s in engine.score(ids[:10], ids[10:]))
    )
    thread.start()
    run(engine, *(by_ids(random_ids(50, seed=s)) for s in range(6)))
    thread.join(TIMEOUT_S)
    assert scores == pytest.approx(alone, abs=1e-4)


def test_a_vocabulary_so_large_that_few_rows_fit(
    folder: Path, engine: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = random_ids(60)
    expected = [s.logprob for s in engine.score(ids[:9], ids[9:])]
    monkeypatch.setattr(context_module, "OUTPUT_BYTES", 1)
    with LlamaCppEngine.load(folder, threads=1, max_batch=2) as small:
        assert small._context.most_outputs == 2
        scores = small.score(ids[:9], ids[9:])
        requests = [by_ids(random_ids(n, seed=n)) for n in (3, 600, 20)]
        assert [t for t, _ in run(small, *requests)] == [t for t, _ in run(engine, *requests)]
    assert [s.logprob for s in scores] == pytest.approx(expected, abs=1e-4)


def test_a_waiting_request_can_be_cancelled(copy: Path) -> None:
    with LlamaCppEngine.load(copy, threads=1, max_batch=1) as engine:
        inbox: queue.Queue[Event] = queue.Queue()
        running = engine.submit(by_ids([5], max_tokens=1000), lambda event: None)
        engine.submit(by_ids([6]), inbox.put).cancel()
        event = inbox.get(timeout=TIMEOUT_S)
        running.cancel()
        running.cancel()
        assert isinstance(event, DoneEvent)
        assert (event.finish_reason, event.usage.completion_tokens) == ("cancelled", 0)


def test_a_shared_beginning_is_computed_once(folder: Path) -> None:
    first, second = random_ids(60), (*random_ids(40), 9, 9, 9)
    for keep, cached in ((True, 40), (False, 0)):
        with LlamaCppEngine.load(folder, threads=1, max_batch=2, prefix_cache=keep) as engine:
            (_, start), (fresh, done) = (
                run(engine, by_ids(first))[0],
                run(engine, by_ids(second))[0],
            )
            again, repeated = run(engine, by_ids(second))[0]
            assert start.usage.cached_tokens == 0
            assert done.usage.cached_tokens == cached
            # The last token is computed anyway: its logits are needed.
            assert repeated.usage.cached_tokens == (42 if keep else 0)
            assert again == fresh == [e.token_id for e in engine.greedy(second, 20)]


def test_a_failure_ends_the_request_and_not_the_engine(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: LlamaContext, pieces: object) -> Any:
        raise EngineError("llama.cpp failed to decode (status -3).")

    with LlamaCppEngine.load(copy, threads=1) as engine:
        before = engine.generate(CHAT).text
        with monkeypatch.context() as patch:
            patch.setattr(LlamaContext, "decode", fail)
            with pytest.raises(EngineError, match="status -3"):
                engine.generate(CHAT)
            with pytest.raises(EngineError, match="status -3"):
                engine.score([1], [2])
        assert engine.generate(CHAT).text == before


def test_a_failed_thread_leaves_nobody_waiting(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LlamaCppEngine.load(copy, threads=1) as engine:
        monkeypatch.setattr(LlamaContext, "decode", lambda self, pieces: 1 / 0)
        with pytest.raises(EngineError, match="division by zero"):
            engine.generate(CHAT)
        with pytest.raises(EngineError, match="is closed"):
            engine.generate(CHAT)


def test_closing_ends_what_waits(copy: Path) -> None:
    engine = LlamaCppEngine.load(copy, threads=1, max_batch=1)
    inbox: queue.Queue[Event] = queue.Queue()
    for _ in range(3):
        engine.submit(
            by_ids([5], max_tokens=1000), lambda e: isinstance(e, DoneEvent) and inbox.put(e)
        )
    engine.close()
    ends = [inbox.get(timeout=TIMEOUT_S) for _ in range(3)]
    assert {e.finish_reason for e in ends if isinstance(e, DoneEvent)} == {"cancelled"}
    with pytest.raises(EngineError, match="is closed"):
        engine.score([1], [2])


def test_a_forgotten_engine_is_freed(copy: Path) -> None:
    engine = LlamaCppEngine.load(copy, threads=1)
    engine.generate(CHAT)
    thread, gone = engine._scheduler._thread, weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    assert not thread.is_alive()


# Limits


def test_score_at_the_edges(engine: LlamaCppEngine) -> None:
    ids = random_ids(1025)
    assert engine.score(ids[:5], []) == []
    assert len(engine.score(ids[:1000], ids[1000:])) == 25
    with pytest.raises(ContextOverflowError, match="1026 tokens"):
        engine.score(ids, [4])
    with pytest.raises(UserError, match="outside"):
        engine.score([5], [320])
    with pytest.raises(UserError, match="at least one token"):
        engine.score([], [5])


def test_a_shorter_context(folder: Path) -> None:
    with LlamaCppEngine.load(folder, context=100, threads=1) as engine:
        tokens, done = run(engine, by_ids(random_ids(90), max_tokens=50))[0]
        assert (len(tokens), done.finish_reason) == (10, "length")
        with pytest.raises(ContextOverflowError, match="holds 100"):
            engine.submit(by_ids(random_ids(100)), lambda event: None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"max_batch": "many"}, "max_batch is 'many'"),
        ({"context": True}, "context is True"),
        ({"context": 2000}, "trained with 1024"),
        ({"dtype": "q2_k"}, "one of: f32, bf16, q8_0"),
        ({"colour": "red"}, "no option 'colour'"),
    ],
)
def test_bad_options(options: dict[str, object], words: str, folder: Path) -> None:
    with pytest.raises(UserError, match=words):
        LlamaCppEngine.load(folder, **options)


# Files


def test_a_folder_is_converted_once_and_again_when_it_changes(copy: Path) -> None:
    file = copy / "model-f32.gguf"
    answers = []
    for step in range(3):
        if step == 2:
            write_model(copy, Tokenizer.load(copy), seed=1, **FAMILIES["qwen3"])
        before = file.stat().st_ino if step else 0
        with LlamaCppEngine.load(copy, threads=1, max_batch=1) as engine:
            answers.append(engine.generate(CHAT).text)
        assert (file.stat().st_ino == before) == (step == 1)
    assert answers[0] == answers[1] != answers[2]


def test_a_damaged_conversion_is_made_again(copy: Path) -> None:
    (copy / "model-f32.gguf").write_bytes(b"GGUF, but then the light went out")
    with LlamaCppEngine.load(copy, threads=1, max_batch=1) as engine:
        engine.generate(CHAT)
    assert gguf_source(copy / "model-f32.gguf")


def test_a_file_of_the_users_own_is_left_alone(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = copy / "model-f32.gguf"
    monkeypatch.setattr("airust.gpt.gguf.folder_fingerprint", lambda folder: "")
    save_gguf(copy, file, "q8_0")
    monkeypatch.undo()
    before = file.read_bytes()
    with LlamaCppEngine.load(copy, threads=1, max_batch=1) as engine:
        assert engine.settings["dtype"] == "float32"
    assert file.read_bytes() == before


def test_a_folder_that_cannot_be_written(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[Path] = []

    def save(folder: Path, out: Path, dtype: Any) -> None:
        places.append(out)
        if out.parent == copy:
            raise UserError("Cannot write.") from PermissionError(13, "Permission denied")
        save_gguf(folder, out, dtype)

    monkeypatch.setattr(engine_module, "save_gguf", save)
    with LlamaCppEngine.load(copy, threads=1, max_batch=1) as engine:
        assert engine.generate(CHAT).usage.completion_tokens > 0
        assert places[1].is_file()
    assert not places[1].parent.exists()
    assert not list(copy.glob("*.gguf"))


def test_a_file_and_a_folder_with_one(folder: Path, engine: LlamaCppEngine, tmp_path: Path) -> None:
    file = tmp_path / "crab.gguf"
    save_gguf(folder, file)
    for place in (file, str(file), tmp_path):
        with LlamaCppEngine.load(place, threads=1, max_batch=1) as loaded:
            assert loaded.generate(CHAT).text == engine.generate(CHAT).text
    with pytest.raises(UserError, match="has its own"):
        LlamaCppEngine.load(file, dtype="bf16")
    shutil.copy(file, tmp_path / "second.gguf")
    with pytest.raises(UserError, match=r"name one of: crab\.gguf, second\.gguf"):
        LlamaCppEngine.load(tmp_path)


def test_files_that_are_no_model(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    with pytest.raises(UserError, match="There is no file"):
        LlamaCppEngine.load(file)
    save_gguf(folder, file)
    whole = file.read_bytes()
    for content in (b"", b"not a model", whole[:3000], whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"llama\.cpp cannot load") as caught:
            LlamaCppEngine.load(file)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_tokenizer_that_only_llama_cpp_knows(
    folder: Path, engine: LlamaCppEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(path: Path) -> Tokenizer:
        raise UserError("of another kind")

    save_gguf(folder, tmp_path / "m.gguf")
    monkeypatch.setattr(tokenizer_module, "load_gguf_tokenizer", unknown)
    with LlamaCppEngine.load(tmp_path, threads=1, max_batch=1) as loaded:
        assert loaded.generate(CHAT).text == engine.generate(CHAT).text
        raw = Request(prompt="The <|im_end|> 水", params=CHAT.params)
        assert loaded.generate(raw).text == engine.generate(raw).text
        assert loaded.generate(raw).usage.prompt_tokens == engine.generate(raw).usage.prompt_tokens


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(EngineUnavailableError, match="pip install llama-cpp-python"):
        library.__wrapped__()  # behind the cache, which keeps the library's log callback alive


QUIET = """
import sys
from airust.engines.llamacpp import LlamaCppEngine
from airust.types import Request, SamplingParams
engine = LlamaCppEngine.load(sys.argv[1], threads=1, max_batch=1)
engine.generate(Request(prompt="a", params=SamplingParams(max_tokens=2)))
"""


def test_it_prints_nothing_and_ends_without_being_closed(
    engine: LlamaCppEngine, folder: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(folder)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
