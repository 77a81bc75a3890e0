"""The transformers engine; what all engines share is in test_contract.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airust.engines.base import Engine
from airust.types import ContextOverflowError, Message, Request, SamplingParams, UserError

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from airust.engines.transformers import TransformersEngine  # noqa: E402

HELLO = (Message("user", "hello"),)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Iterator[TransformersEngine]:
    with TransformersEngine.load(model_dir) as engine:
        yield engine


def test_the_same_seed_gives_the_same_text(engine: TransformersEngine) -> None:
    def sample(seed: int) -> str:
        params = SamplingParams(temperature=1.0, top_p=0.9, max_tokens=20, seed=seed)
        return engine.generate(Request(messages=HELLO, params=params)).text

    assert sample(1) == sample(1) != sample(2)


def test_score_is_what_greedy_decoding_says(engine: TransformersEngine) -> None:
    """The forward pass against the general way through greedy decoding."""
    prompt = [40, 50, 60]
    tokens = [t.token_id for t in engine.greedy(prompt, 12)]
    given = [t for t in tokens if t is not None]
    given[4] = engine.score(prompt, given, 2)[4].top[1].token_id or 0  # the second choice
    by_forward = engine.score(prompt, given, top_k=400)
    by_decoding = Engine.score(engine, prompt, given, top_k=400)
    for one, other in zip(by_forward, by_decoding, strict=True):
        assert other is not None
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert [t.token_id for t in one.top[:3]] == [t.token_id for t in other.top[:3]]


def test_score_refuses_what_does_not_fit(engine: TransformersEngine) -> None:
    with pytest.raises(ContextOverflowError):
        engine.score([5] * 200, [6] * 100)
    with pytest.raises(UserError, match="vocabulary"):
        engine.score([5], [100_000])


def test_nothing_is_printed(model_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with TransformersEngine.load(model_dir, threads=1) as engine:
        engine.generate(Request(messages=HELLO, params=SamplingParams(max_tokens=3)))
        assert engine.settings == {
            "dtype": "float32",
            "device": "cpu",
            "threads": 1,
            "static_cache": False,
            "compile": False,
        }
    assert capfd.readouterr() == ("", "")


def test_bfloat16(model_dir: Path) -> None:
    with TransformersEngine.load(model_dir, dtype="bfloat16") as engine:
        assert engine.settings["dtype"] == "bfloat16"
        assert engine.generate(Request(messages=HELLO)).text


def greedy(engine: Engine, prompt_tokens: int, count: int) -> list[int | None]:
    prompt = [5 + i * 7 % 300 for i in range(prompt_tokens)]
    return [token.token_id for token in engine.greedy(prompt, count)]


LENGTHS = ((3, 20), (100, 40), (1, 5), (200, 56))  # one cache for all, which is made larger once


def test_a_static_cache_changes_no_token(engine: TransformersEngine, model_dir: Path) -> None:
    with TransformersEngine.load(model_dir, static_cache=True) as static:
        assert static.settings["static_cache"] is True
        for lengths in (*LENGTHS, *LENGTHS):  # the second time over what the others left
            assert greedy(static, *lengths) == greedy(engine, *lengths)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own
def test_a_compiled_step_changes_no_token(engine: TransformersEngine, model_dir: Path) -> None:
    with TransformersEngine.load(model_dir, static_cache=True, compile=True) as compiled:
        assert compiled.settings["compile"] is True
        for lengths in LENGTHS:
            assert greedy(compiled, *lengths) == greedy(engine, *lengths)


@pytest.mark.full
def test_compile_without_a_compiler_is_one_sentence(model_dir: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from airust.engines.registry import load_engine\n"
        "from airust.types import UserError\n"
        "try: load_engine('transformers', sys.argv[1], static_cache=True, compile=True)\n"
        "except UserError as error: print(error)"
    )
    hidden = {"CXX": "/nowhere/g++", "PATH": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", code, str(model_dir)],
        capture_output=True,
        text=True,
        env=os.environ | hidden,
    )
    assert found.stdout.startswith("torch.compile fails here: "), found.stderr
    assert found.stdout.count("\n") == 1


def test_compile_needs_a_static_cache(model_dir: Path) -> None:
    with pytest.raises(UserError, match="static_cache=true"):
        TransformersEngine.load(model_dir, compile=True)


@pytest.mark.parametrize(
    ("option", "value"),
    [("dtype", "int4"), ("threads", 0), ("threads", "2"), ("static_cache", 1), ("compile", "yes")],
)
def test_bad_options(model_dir: Path, option: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^{option} is"):
        TransformersEngine.load(model_dir, **{option: value})


def _save(config: object, model_dir: Path, folder: Path) -> None:
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(model_dir / name, folder)


def test_another_architecture(model_dir: Path, tmp_path: Path) -> None:
    config = transformers.GPT2Config(
        vocab_size=400, n_embd=32, n_layer=1, n_head=2, n_positions=64, eos_token_id=2
    )
    _save(config, model_dir, tmp_path)
    with TransformersEngine.load(tmp_path) as engine:
        params = SamplingParams(max_tokens=100, ignore_eos=True)
        answer = engine.generate(Request(token_ids=(5, 6, 7, 8), params=params))
    assert answer.usage.completion_tokens == 60  # the context is full


def test_a_recurrent_model_is_refused(model_dir: Path, tmp_path: Path) -> None:
    config = transformers.MambaConfig(vocab_size=400, hidden_size=32, num_hidden_layers=1)
    _save(config, model_dir, tmp_path)
    with pytest.raises(UserError, match="recurrent"):
        TransformersEngine.load(tmp_path)


def test_a_template_that_refuses_the_roles(model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(model_dir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")
    with (
        TransformersEngine.load(tmp_path) as engine,
        pytest.raises(UserError, match="refuses these messages: no system role"),
    ):
        engine.generate(Request(messages=HELLO))
