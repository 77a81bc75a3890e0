"""The traps of mistral.rs; what all engines share is in test_contract.py."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from airust.engines.base import Engine
from airust.engines.mistralrs import MistralRsEngine
from airust.types import (
    EngineUnavailableError,
    Message,
    Request,
    SamplingParams,
    UnsupportedError,
    UserError,
)
from tests.conftest import RECITED

# Not importorskip: the library must not be imported before the engine has set its environment.
pytestmark = pytest.mark.skipif(not find_spec("mistralrs"), reason="mistralrs is not installed")

HELLO = (Message("user", "hello"),)


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Iterator[MistralRsEngine]:
    with MistralRsEngine.load(model_dir) as engine:
        yield engine


def ask(engine: Engine, messages: tuple[Message, ...] = HELLO, **params: object) -> str:
    wanted = SamplingParams(**({"max_tokens": 20} | params))  # type: ignore[arg-type]
    return engine.generate(Request(messages=messages, params=wanted)).text


def test_importing_the_engine_does_not_import_the_library() -> None:
    code = "import sys, airust.engines.mistralrs; sys.exit('mistralrs' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_are_recorded(model_dir: Path) -> None:
    code = (
        "import sys; from airust.engines.registry import load_engine; "
        "print(load_engine('mistralrs', sys.argv[1], threads=1).settings['threads'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(model_dir)], capture_output=True, text=True, check=True
    )
    assert found.stdout == "1\n"


def test_nothing_is_printed(model_dir: Path) -> None:
    code = (
        "import sys; from airust.engines.registry import load_engine; "
        "from airust.types import Message, Request; "
        "engine = load_engine('mistralrs', sys.argv[1]); "
        "engine.generate(Request(messages=(Message('user', 'hi'),)))"
    )  # and it ends although nobody closes the engine
    found = subprocess.run(
        [sys.executable, "-c", code, str(model_dir)], capture_output=True, text=True, check=True
    )
    assert (found.stdout, found.stderr) == ("", "")


def test_sampling_is_not_made_greedy_by_generation_config(
    engine: MistralRsEngine, model_dir: Path
) -> None:
    settings = json.loads((model_dir / "generation_config.json").read_text("utf-8"))
    assert settings["do_sample"] is False  # mistral.rs would take that as top_k = 1
    answers = {ask(engine, temperature=1.0) for _ in range(3)}
    assert len(answers) > 1
    assert len({ask(engine) for _ in range(3)}) == 1


def test_top_k_of_one_is_greedy(engine: MistralRsEngine) -> None:
    assert ask(engine, temperature=1.0, top_k=1) == ask(engine)


def test_logprobs_only_where_they_are_those_of_the_model(engine: MistralRsEngine) -> None:
    altering: list[dict[str, object]] = [
        {"temperature": 0.5},
        {"repetition_penalty": 1.2},
        {"presence_penalty": 1.0},
        {"frequency_penalty": 1.0},
        {"logit_bias": ((5, 1.0),)},
        {"regex": "a+"},
        {"json_schema": "{}"},
    ]
    for params in altering:
        with pytest.raises(UnsupportedError, match="logprobs"):
            ask(engine, logprobs=1, **params)
    request = Request(messages=HELLO, params=SamplingParams(temperature=1.0, logprobs=400))
    token = engine.generate(request).tokens[0]
    assert math.fsum(math.exp(top.logprob) for top in token.top) == pytest.approx(1, abs=1e-3)


def test_token_ids_that_are_not_the_tokens_of_their_text(engine: MistralRsEngine) -> None:
    for ids in ((173,), (60, 61, 62, 5, 999_999)):
        with pytest.raises(UserError):
            engine.generate(Request(token_ids=ids))
    with pytest.raises(UnsupportedError, match="tokenised differently"):
        engine.generate(Request(token_ids=(173,)))  # a lone byte of a longer character


def test_json_schema(engine: MistralRsEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"rains": {"type": "boolean"}},
        "required": ["rains"],
        "additionalProperties": False,
    }
    answer = json.loads(ask(engine, json_schema=json.dumps(schema), max_tokens=40))
    assert isinstance(answer["rains"], bool)


def test_regex(engine: MistralRsEngine) -> None:
    for _ in range(3):
        answer = ask(engine, regex="[0-9]{3}-(水|rain)", temperature=1.0)
        assert re.fullmatch("[0-9]{3}-(水|rain)", answer)


@pytest.mark.parametrize(
    "params",
    [
        {"json_schema": "{"},
        {"json_schema": "[]"},
        {"json_schema": '{"$ref": "#/nowhere"}'},
        {"regex": "(["},
    ],
)
def test_a_broken_grammar_is_the_users_mistake(
    engine: MistralRsEngine, params: dict[str, str]
) -> None:
    with pytest.raises(UserError) as caught:
        ask(engine, **params)
    assert "\n" not in str(caught.value)
    assert len(ask(engine)) > 0


def test_more_requests_than_sequences(model_dir: Path) -> None:
    with MistralRsEngine.load(model_dir, max_seqs=3) as engine:
        alone, texts = ask(engine), []
        threads = [threading.Thread(target=lambda: texts.append(ask(engine))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert texts == [alone] * 12
        assert engine.settings["max_seqs"] == 3


def test_without_prefix_cache(engine: MistralRsEngine, model_dir: Path) -> None:
    with MistralRsEngine.load(model_dir, prefix_cache=False) as other:
        assert [ask(other), ask(other)] == [ask(engine)] * 2


def test_gguf_and_quantisation_while_loading(engine: MistralRsEngine, model_dir: Path) -> None:
    from airust.gpt.gguf import save_gguf

    path = model_dir.parent / "model.gguf"
    save_gguf(model_dir, path)
    with MistralRsEngine.load(path) as same:
        assert same.settings["dtype"] == "float32"
        assert ask(same) == ask(engine)
    save_gguf(model_dir, path, "q8_0")
    with MistralRsEngine.load(path) as stored:
        assert stored.settings["dtype"] == "q8_0"
        assert len(ask(stored)) > 0
    for name in ("Q8_0", "Q4K"):
        with MistralRsEngine.load(model_dir, quantize=name) as quantised:
            assert quantised.settings["dtype"] == name
            assert len(ask(quantised)) > 0


def test_the_kv_cache_is_float32_unless_somebody_says_otherwise(
    engine: MistralRsEngine, model_dir: Path
) -> None:
    assert engine.settings["kv_cache"] == "float32"  # mistral.rs itself would take float16
    code = (
        "import sys; from airust.engines.registry import load_engine; "
        "print(load_engine('mistralrs', sys.argv[1]).settings['kv_cache'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(model_dir)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"MISTRALRS_CPU_KV_F32": "0"},
    )
    assert found.stdout == "float16\n"


def test_a_first_space_is_lost_without_logprobs(reciter_dir: Path) -> None:
    with MistralRsEngine.load(reciter_dir) as engine:
        texts = [
            engine.generate(
                Request(prompt="x", params=SamplingParams(max_tokens=11, logprobs=logprobs))
            ).text
            for logprobs in (None, 0)
        ]
    assert texts == [RECITED, f" {RECITED}"]


def test_a_missing_rope_theta_is_one_sentence(model_dir: Path, tmp_path: Path) -> None:
    """Checkpoints of transformers 5 have none at the top level; ours do, for this library."""
    shutil.copytree(model_dir, tmp_path, dirs_exist_ok=True)
    config = json.loads((model_dir / "config.json").read_text("utf-8"))
    del config["rope_theta"]
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(UserError, match=r"^[^\n]*rope_theta[^\n]*\.$"):
        MistralRsEngine.load(tmp_path)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("dtype", "float8"),
        ("quantize", 8),
        ("quantize", "Q99"),
        ("max_seqs", 0),
        ("prefix_cache", 1),
        ("threads", 0),
        ("threads", 97),  # the library has been loaded with another number
    ],
)
def test_bad_options(engine: MistralRsEngine, model_dir: Path, option: str, value: object) -> None:
    with pytest.raises(UserError, match=r"\.$"):
        MistralRsEngine.load(model_dir, **{option: value})


def test_a_model_without_chat_template(model_dir: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes((model_dir / name).read_bytes())
    with MistralRsEngine.load(tmp_path) as engine:
        with pytest.raises(UnsupportedError, match="no chat template"):
            ask(engine)
        assert engine.generate(Request(prompt="hello")).text


def test_without_the_library(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airust.engines.registry import load_engine

    monkeypatch.setitem(sys.modules, "mistralrs", None)  # what an import then does: fail
    with pytest.raises((EngineUnavailableError, ValueError), match="mistralrs"):
        load_engine("mistralrs", model_dir)
