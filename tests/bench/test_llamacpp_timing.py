"""Our decode rate of llama.cpp is the one that llama.cpp itself counts."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airust.bench.measure import decode_rate, run_batch
from airust.bench.random_model import RANDOM, make_random
from airust.bench.workload import Batch, WorkloadSpec, make_workload
from airust.engines.registry import load_engine
from airust.gpt.tokenizer import Tokenizer

llama_cpp = pytest.importorskip("llama_cpp", exc_type=ImportError)
pytestmark = pytest.mark.full

SHORT, LONG = 8, 96  # tokens of an answer
NEAR = 0.15  # what is ours: events, the next token's choice, Python


def test_the_slope_agrees_with_its_own_timing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of some milliseconds a token, so that what is beside llama.cpp weighs little."""
    contexts: list[Any] = []
    make_context = llama_cpp.llama_init_from_model

    def noted(model: Any, params: Any) -> Any:
        params.no_perf = False  # it counts only when asked to
        contexts.append(make_context(model, params))
        return contexts[-1]

    monkeypatch.setattr(llama_cpp, "llama_init_from_model", noted)
    config = replace(RANDOM["qwen3-1m"], hidden_size=512, layers=8, heads=8, ffn_size=1536)
    make_random(replace(config, kv_heads=4, head_dim=64), tmp_path / "model")
    tokenizer = Tokenizer.load(tmp_path / "model")
    workload = make_workload(tokenizer, WorkloadSpec(new_tokens=LONG, streams=(1,), repeats=3))
    ratios = []
    with load_engine("llamacpp", tmp_path / "model", threads=1, max_batch=1) as engine:
        run_batch(engine, workload, Batch((0,), SHORT))  # warm-up
        for number in range(3):
            short = run_batch(engine, workload, Batch((1 + 2 * number,), SHORT))
            llama_cpp.llama_perf_context_reset(contexts[-1])
            long = run_batch(engine, workload, Batch((2 + 2 * number,), LONG))
            told = llama_cpp.llama_perf_context(contexts[-1])
            assert isinstance(told, ctypes.Structure) and told.n_eval >= LONG - 2
            ours = decode_rate(short, long)
            assert ours is not None
            ratios.append(ours * told.t_eval_ms / 1e3 / told.n_eval)
    nearest = min(ratios, key=lambda ratio: abs(ratio - 1))  # others may be beside other work
    assert abs(nearest - 1) < NEAR, ratios
