"""The candle engine: families, threads, errors; what all engines share is in test_contract.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import airust
from airust.engines import candle, registry
from airust.engines.candle import CandleEngine
from airust.types import (
    Completion,
    EngineUnavailableError,
    UserError,
)
from tests.cli.conftest import Invoke
from tests.cli.conftest import airust as run_airust
from tests.engines.hf_models import CONTEXT, MODELS, ORIGINAL, SIZES, VOCAB, logits, logprobs, make
from tests.engines.hf_tokenizers import write_tokenizer
from tests.engines.torch.answers import TIMEOUT_S, Answer, ids_request

CRATE = Path(__file__).resolve().parent.parent.parent / "crates/airust-candle"
NEW_TOKENS = 8
CLOSE = 1e-4
TOP = 40  # of the likeliest tokens are compared

built = pytest.mark.skipif(not find_spec("airust_candle"), reason="make candle has not been run")


def some_ids(length: int, seed: int = 1) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB, (length,), generator=generator).tolist()


def ask(engine: CandleEngine, ids: list[int], **params: Any) -> Completion:
    wanted = {"max_tokens": NEW_TOKENS, "logprobs": TOP, "ignore_eos": True} | params
    return engine.generate(ids_request(ids, **wanted))


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Call all, each in a thread of its own; the results in the same order."""
    results: list[Any] = [None] * len(calls)

    def call(i: int) -> None:
        results[i] = calls[i]()

    threads = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    return results


def assert_right(theirs: Any, prompt: list[int], answer: Completion) -> None:
    """Every distribution that a token was chosen from, and that it was the likeliest."""
    ids = list(prompt)
    tokens = [event for event in answer.tokens if event.token_id is not None]
    assert len(tokens) == NEW_TOKENS
    for event in tokens:
        expected = logprobs(theirs, ids)
        found = torch.tensor([entry.logprob for entry in event.top])
        torch.testing.assert_close(found, expected.topk(TOP).values, atol=CLOSE, rtol=0)
        assert event.token_id is not None
        assert float(expected[event.token_id]) > float(expected.max()) - CLOSE
        ids.append(event.token_id)


def assert_scores(engine: CandleEngine, theirs: Any, ids: list[int]) -> None:
    """Teacher-forced logprobs and their alternatives, at every position."""
    scores = engine.score(ids[:3], ids[3:], TOP)
    expected = logits(theirs, ids[:-1])[2:].log_softmax(-1)
    for score, row, given in zip(scores, expected, ids[3:], strict=True):
        assert score.logprob == pytest.approx(float(row[given]), abs=CLOSE)
        found = torch.tensor([entry.logprob for entry in score.top])
        torch.testing.assert_close(found, row.topk(TOP).values, atol=CLOSE, rtol=0)


def write_model(theirs: Any, folder: Path) -> None:
    theirs.save_pretrained(folder)
    family = "phi" if theirs.config.model_type == "phi3" else "qwen"
    write_tokenizer(family, folder, VOCAB)


# The families of our own model


@built
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """Scores, decoding with a cache (also past a stretched context), many texts at once."""
    theirs = make(name)
    write_model(theirs, tmp_path)
    with CandleEngine.load(tmp_path, threads=2) as engine:
        assert engine.settings["model"] == "our own"
        assert engine.context == CONTEXT
        for length in (20, 70):
            assert_scores(engine, theirs, some_ids(length))
        prompts = [some_ids(n, seed=n) for n in (1, 17, ORIGINAL - 4, ORIGINAL, 60, 100)]
        for prompt in prompts[2:4]:
            assert_right(theirs, prompt, ask(engine, prompt))
        answers = at_once([lambda p=prompt: ask(engine, p) for prompt in prompts])
        for prompt, answer in zip(prompts, answers, strict=True):
            assert_right(theirs, prompt, answer)


@built
def test_mistral(tmp_path: Path) -> None:
    torch.manual_seed(5)
    config = transformers.MistralConfig(**SIZES, head_dim=20, sliding_window=64)
    theirs = transformers.MistralForCausalLM(config).eval()
    write_model(theirs, tmp_path)
    with CandleEngine.load(tmp_path, threads=1) as engine:
        assert engine.settings["model"] == "our own"
        assert engine.context == 64  # full attention is sliding attention up to the window
        assert_right(theirs, some_ids(40), ask(engine, some_ids(40)))


@built
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(dtype: str, tmp_path: Path) -> None:
    """Exact where the file has the same numbers, near where they are rounded while loading."""
    theirs = make("qwen2")
    write_model(theirs, tmp_path)
    ids = some_ids(50)
    expected = logits(theirs, ids[:-1]).log_softmax(-1)
    with CandleEngine.load(tmp_path, threads=1, dtype=dtype) as engine:
        assert engine.settings["dtype"] == dtype
        found = torch.tensor([score.logprob for score in engine.score(ids[:1], ids[1:])])
    given = expected.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert 0 < float((found - given).abs().max()) < 0.1 * float(expected.std())
    theirs.to(getattr(torch, dtype)).save_pretrained(tmp_path)
    rounded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    for loaded in (dtype, "float32"):
        with CandleEngine.load(tmp_path, threads=1, dtype=loaded) as engine:
            assert_scores(engine, rounded.eval(), ids)


@built
def test_sharded_files(tmp_path: Path) -> None:
    theirs = make("phi3 partial")
    theirs.save_pretrained(tmp_path, max_shard_size="30KB")
    write_tokenizer("phi", tmp_path, VOCAB)
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    with CandleEngine.load(tmp_path, threads=1) as engine:
        assert_scores(engine, theirs, some_ids(30))
    next(iter(sorted(tmp_path.glob("*.safetensors")))).unlink()
    with pytest.raises(UserError, match=r"^candle cannot load [^\n]*model-00001[^\n]*\.$"):
        CandleEngine.load(tmp_path)


# Those of candle-transformers

OTHERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "gemma2": (
        transformers.Gemma2Config,
        transformers.Gemma2ForCausalLM,
        {"head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 64},
    ),
    "smollm3": (transformers.SmolLM3Config, transformers.SmolLM3ForCausalLM, {}),
    "qwen3_moe": (
        transformers.Qwen3MoeConfig,
        transformers.Qwen3MoeForCausalLM,
        {"head_dim": 12, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40},
    ),
}


def make_other(family: str, **changes: Any) -> Any:
    make_config, make_model, differs = OTHERS[family]
    torch.manual_seed(5)
    return make_model(make_config(**json.loads(json.dumps(SIZES | differs | changes)))).eval()


@built
@pytest.mark.parametrize("family", OTHERS)
def test_other_families(family: str, tmp_path: Path) -> None:
    theirs = make_other(family)
    write_model(theirs, tmp_path)
    with CandleEngine.load(tmp_path, threads=1) as engine:
        assert engine.settings["model"] == "candle-transformers"
        assert engine.context == (64 if family == "gemma2" else CONTEXT)
        assert_scores(engine, theirs, some_ids(20))
        prompts = [some_ids(n, seed=n) for n in (1, 17, 40)]
        answers = at_once([lambda p=prompt: ask(engine, p) for prompt in prompts])
        for prompt, answer in zip(prompts, answers, strict=True):
            assert_right(theirs, prompt, answer)


# What cannot be loaded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound model."""
    found = tmp_path_factory.mktemp("sound")
    write_model(make("qwen2"), found)
    return found


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


@built
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "mamba"}, "the model type 'mamba' is not supported; supported: qwen3, "),
        ({"model_type": None}, "model type '' is not supported"),
        ({"hidden_act": "gelu"}, "the activation .* is not supported"),
        ({"rope_parameters": {"rope_type": "ntk"}}, "the rotary scaling 'ntk' is not supported"),
        ({"quantization_config": {"bits": 4}}, "quantised weights are not supported"),
        ({"mlp_bias": True}, "biases in the feed-forward layer are not supported"),
        ({"num_key_value_heads": 4}, "6 heads cannot share 4 key and value heads"),
        ({"intermediate_size": 81}, r"mlp.* is \[80, 60\] but config.json says \[81, 60\]"),
        ({"num_hidden_layers": 3}, r"the weights lack model\.layers\.2\."),
        ({"hidden_size": "wide"}, "config.json: invalid type"),
    ],
)
def test_what_it_cannot_load_is_one_sentence(
    folder: Path, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    change_config(tmp_path, **changes)
    with pytest.raises(UserError, match=rf"^candle cannot load '[^\n]*': [^\n]*{reason}[^\n]*\.$"):
        CandleEngine.load(tmp_path)


@built
@pytest.mark.parametrize("content", [b"", b"truncated", b"\xff" * 64, b"\x08" + bytes(7) + b"{}"])
def test_damaged_weights_are_one_sentence(folder: Path, tmp_path: Path, content: bytes) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"^candle cannot load '[^\n]*': [^\n]+\.$"):
        CandleEngine.load(tmp_path)


@built
@pytest.mark.parametrize(
    ("family", "changes", "reason"),
    [
        ("smollm3", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "'linear'"),
        ("qwen3_moe", {"mlp_only_layers": [0]}, "mlp_only_layers"),
        ("qwen3_moe", {"num_experts_per_tok": "all"}, "config.json: invalid type"),
    ],
)
def test_what_candle_transformers_would_compute_wrongly(
    family: str, changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    write_model(make_other(family), tmp_path)
    change_config(tmp_path, **changes)
    with pytest.raises(UserError, match=rf"^candle cannot load '[^\n]*': [^\n]*{reason}[^\n]*\.$"):
        CandleEngine.load(tmp_path)


@built
@pytest.mark.parametrize(
    ("option", "value"),
    [("dtype", "int8"), ("threads", 0), ("threads", True), ("workers", 0), ("workers", "2")],
)
def test_bad_options(folder: Path, option: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^{option} is .* but must be .*\.$"):
        CandleEngine.load(folder, **{option: value})


# Threads


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Iterator[CandleEngine]:
    with CandleEngine.load(model_dir, threads=2) as engine:
        yield engine


PROMPT = list(range(5, 25))


@built
def test_other_python_threads_go_on_while_it_computes(model_dir: Path) -> None:
    """With so long a turn for each thread, another one runs only where the lock is let go."""
    import airust_candle

    model = airust_candle.Model.load(model_dir, "float32", 1)
    state: list[str] = []

    def compute(begun: threading.Event) -> None:
        sequence = model.sequence(240)
        begun.set()
        for _ in range(3):
            state.append("computing")
            sequence.logits([7] * 80, all=True)
            state.append("done")

    def seen_computing() -> bool:
        begun = threading.Event()
        thread = threading.Thread(target=compute, args=(begun,), daemon=True)
        thread.start()
        assert begun.wait(TIMEOUT_S)
        found = bool(state) and state[-1] == "computing"
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
        return found

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        # The other thread may be quicker now and then, but not a hundred times.
        assert any(seen_computing() for _ in range(100))
    finally:
        sys.setswitchinterval(interval)


@built
def test_a_long_prompt_is_cancelled_between_two_chunks(
    engine: CandleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candle, "CHUNK", 16)
    reached, go_on, chunks = threading.Event(), threading.Event(), []
    prefill = candle._Text.prefill

    def watched(text: Any) -> bool:
        chunks.append(text.done)
        if len(chunks) == 3:
            reached.set()
            assert go_on.wait(TIMEOUT_S)
        return prefill(text)

    monkeypatch.setattr(candle._Text, "prefill", watched)
    answer = Answer(engine, ids_request([7] * 200))
    assert reached.wait(TIMEOUT_S)
    answer.handle.cancel()  # from another thread than the one that computes
    go_on.set()
    done = answer.wait()
    assert done.finish_reason == "cancelled"  # type: ignore[union-attr]
    assert chunks == [0, 16, 32]
    assert answer.ids() == []


@built
def test_dropping_while_busy(model_dir: Path) -> None:
    """Closed with twice as many requests as workers; nobody waits for ever, nothing crashes."""
    engine = CandleEngine.load(model_dir, threads=2, workers=4)
    request = ids_request(PROMPT, max_tokens=200, ignore_eos=True)
    answers = [Answer(engine, request) for _ in range(8)]
    assert answers[0].begun.wait(TIMEOUT_S)
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(TIMEOUT_S)
    assert not closing.is_alive()
    reasons = {answer.wait().finish_reason for answer in answers}  # type: ignore[union-attr]
    assert "cancelled" in reasons
    assert reasons <= {"cancelled", "length"}


@built
def test_the_model_outlives_whoever_loaded_it(model_dir: Path) -> None:
    import airust_candle

    sequence = airust_candle.Model.load(model_dir, "float32", 2).sequence(8)
    assert len(sequence.logits([5, 6])) % 4 == 0
    assert isinstance(sequence.greedy([7]), int)


@built
def test_a_process_ends_although_an_answer_is_under_way(model_dir: Path) -> None:
    code = (
        "import sys, threading; from airust.engines.registry import load_engine\n"
        "from airust.types import Request, SamplingParams\n"
        "begun = threading.Event()\n"
        "engine = load_engine('candle', sys.argv[1])\n"
        "params = SamplingParams(max_tokens=200, ignore_eos=True)\n"
        "for _ in range(4):\n"
        "    engine.submit(Request(token_ids=(5, 6), params=params), lambda e: begun.set())\n"
        "begun.wait(30)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model_dir)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@built
def test_the_same_bits_whatever_else_is_computed(engine: CandleEngine) -> None:
    def sample(seed: int) -> list[tuple[int | None, float | None]]:
        answer = ask(engine, PROMPT[seed:], temperature=1.2, seed=seed, max_tokens=20)
        return [(token.token_id, token.logprob) for token in answer.tokens]

    alone = [sample(seed) for seed in range(12)]
    assert at_once([lambda s=seed: sample(s) for seed in range(12)]) == alone


# Panics and misuse


@built
def test_misuse_is_a_python_error(model_dir: Path) -> None:
    import airust_candle

    with pytest.raises(ValueError, match="unknown dtype int4"):
        airust_candle.Model.load(model_dir, "int4")
    model = airust_candle.Model.load(model_dir, "float32", 1)
    with pytest.raises(RuntimeError, match="0 tokens after 0 do not fit into 4"):
        model.sequence(4).greedy([])
    sequence = model.sequence(4)
    with pytest.raises(RuntimeError, match="5 tokens after 0 do not fit into 4"):
        sequence.logits([5] * 5)
    with pytest.raises(RuntimeError, match="in use, or a step of it has failed"):
        sequence.logits([5])
    with pytest.raises(RuntimeError, match="token id 1000000 is outside the vocabulary"):
        model.sequence(4).greedy([10**6])
    with pytest.raises(OverflowError):
        model.sequence(4).greedy([-1])
    for huge in (2**40, 2**63):  # it grows with the text
        assert model.sequence(huge).greedy([5]) is not None


@built
def test_a_panic_is_an_error_and_the_process_goes_on(folder: Path, tmp_path: Path) -> None:
    """A zero that candle-transformers divides by."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    change_config(tmp_path, **PANIC)
    for _ in range(3):
        with pytest.raises(UserError, match="candle panicked: attempt to divide by zero"):
            CandleEngine.load(tmp_path)
    with CandleEngine.load(folder) as sound:
        assert len(sound.greedy(PROMPT, 3)) == 3


PANIC: dict[str, Any] = {
    "model_type": "gemma2",
    "num_key_value_heads": 0,
    "head_dim": 10,
    "query_pre_attn_scalar": 10,
    "hidden_activation": "gelu",
    "attention_bias": False,
}


@built
def test_damaged_weights_end_the_request_and_not_the_engine(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.norm.weight"][:] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with CandleEngine.load(tmp_path) as engine:
        for params in ({}, {"temperature": 1.0}, {"logprobs": 2}):
            with pytest.raises(airust.types.EngineError, match="not a number"):
                engine.generate(ids_request(PROMPT, **params))


# Where it has not been built, or by another version


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(registry.BUILT_INS["candle"], libraries={"no_such_crate": "airust-candle"})
    monkeypatch.setitem(registry.BUILT_INS, "candle", row)


airust_command = run_airust  # the fixture of the command line's tests


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize("cargo", ["/usr/bin/cargo", None])
def test_a_missing_crate_says_how_to_build_it(
    airust_command: Invoke, model_dir: Path, monkeypatch: pytest.MonkeyPatch, cargo: str | None
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: cargo if name == "cargo" else None)
    hint = "make candle"
    if cargo is None:
        hint += "  # cargo is missing here; it comes with Rust (rustup.rs)"
    listed = airust_command("engines")
    assert listed.exit_code == 0
    assert f"candle is missing; install it with: {hint}\n" in listed.stdout
    asked = airust_command("ask", "--model", str(model_dir), "--engine", "candle", "hello")
    assert asked.exit_code == 2
    sentence = f"The engine 'candle' needs airust-candle; install with: {hint}"
    assert sentence.split() == asked.stderr.split()[1:]  # behind "Error:"


@built
def test_a_crate_of_another_version_says_so(
    airust_command: Invoke, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import airust_candle

    monkeypatch.setattr(airust_candle, "__version__", "0.0.1")
    with pytest.raises(EngineUnavailableError, match=r"^[^\n]*$") as caught:
        CandleEngine.load(model_dir)
    assert str(caught.value) == (
        f"The candle engine was built for airust 0.0.1 but this is airust {airust.__version__}; "
        "build it again with: make candle"
    )
    asked = airust_command("ask", "--model", str(model_dir), "--engine", "candle", "hello")
    assert asked.exit_code == 2
    assert "make candle" in asked.stderr


def test_the_crate_has_the_version_of_the_package() -> None:
    manifest = tomllib.loads((CRATE / "Cargo.toml").read_text("utf-8"))
    assert manifest["package"]["version"] == airust.__version__


# The crate by itself


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is not installed")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["fmt", "--check"], id="fmt"),
        pytest.param(
            ["clippy", "--release", "--all-targets", "--", "-D", "warnings"],
            id="clippy",
        ),
        pytest.param(["test", "--release"], id="test"),
    ],
)
def test_cargo(command: list[str]) -> None:
    """In the profile of `make candle`, whose dependencies are there already."""
    done = subprocess.run(
        ["cargo", *command], cwd=CRATE, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
