"""Two well-known models by their names at the Hugging Face hub.

Their weights are gigabytes, so the cache is filled with small models that have everything else of
them: the keys of their config files, the form of their tokenizers, their chat templates.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from airust.engines.model_tokenizer import ModelTokenizer
from airust.engines.torch import TorchEngine
from airust.types import Message, Request, SamplingParams
from tests.engines.hf_models import VOCAB, as_version_4, make
from tests.engines.hf_tokenizers import write_tokenizer

QWEN, PHI = "Qwen/Qwen2.5-0.5B-Instruct", "microsoft/Phi-3.5-mini-instruct"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# What the real config.json files have beside sizes; transformers 4 wrote them.
CONFIGS: dict[str, dict[str, Any]] = {
    QWEN: {
        "attention_dropout": 0.0,
        "max_window_layers": 2,
        "sliding_window": 32,
        "use_sliding_window": False,
        "use_mrope": False,
        "tie_word_embeddings": True,
        "transformers_version": "4.43.1",
    },
    PHI: {
        "attention_bias": False,
        "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "sliding_window": 262144,
        "tie_word_embeddings": False,
        "transformers_version": "4.43.3",
    },
}
ASK = """
import json, sys
from airust.engines.registry import load_engine
from airust.types import Message, Request, SamplingParams
with load_engine("torch", sys.argv[1], threads=1) as engine:
    request = Request(messages=(Message("user", "hello"),), params=SamplingParams(max_tokens=8))
    answer = engine.generate(request)
print(json.dumps([answer.usage.prompt_tokens, [t.token_id for t in answer.tokens]]))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HF_HOME with both models in it."""
    home = tmp_path_factory.mktemp("hf_home")
    for name, model, tokenizer in ((QWEN, "qwen2", "qwen"), (PHI, "phi3 longrope", "phi")):
        folder = snapshot(home, name)
        make(model).to(torch.bfloat16).save_pretrained(folder)
        as_version_4(folder)
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config.pop("head_dim", None)
        (folder / "config.json").write_text(json.dumps(config | CONFIGS[name]), "utf-8")
        write_tokenizer(tokenizer, folder, VOCAB)
        refs = folder.parent.parent / "refs"
        refs.mkdir()
        (refs / "main").write_text(COMMIT)
    return home


def snapshot(home: Path, name: str) -> Path:
    return home / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / COMMIT


def run(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Python with these environment variables and none of the hub's that this test runs under."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE_"))}
    return subprocess.run(
        [sys.executable, *command], env=kept | settings, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("name", [QWEN, PHI])
def test_by_name_without_a_network(name: str, home: Path) -> None:
    done = run("-c", ASK, name, HF_HOME=str(home), HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    messages = (Message("user", "hello"),)
    with TorchEngine.load(snapshot(home, name), threads=1) as engine:  # the same by its folder
        request = Request(messages=messages, params=SamplingParams(max_tokens=8))
        ids = [token.token_id for token in engine.generate(request).tokens]
    prompt = ModelTokenizer.load(snapshot(home, name)).encode_chat(messages)
    assert json.loads(done.stdout) == [len(prompt), ids]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        # Nothing listens at this port.
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub cannot be reached"),
    ],
)
def test_no_network_and_no_cache_is_one_sentence(
    settings: dict[str, str], reason: str, tmp_path: Path
) -> None:
    done = run("-m", "airust", "ask", "--model", QWEN, "hello", HF_HOME=str(tmp_path), **settings)
    assert done.returncode == 2
    assert done.stdout == ""
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"Error: '{QWEN}' is neither a folder here nor complete")
    assert reason in sentence
    assert "Traceback" not in done.stderr
