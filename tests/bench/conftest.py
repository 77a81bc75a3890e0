"""Made-up results of one model, engines made for the tests, and checks that many reports share."""

from __future__ import annotations

import ast
import json
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from airust.bench import metrics
from airust.bench.runner import AA_SUFFIX
from airust.bench.tables import number

STREAMS = (1, 4, 16)
SPEED = {"torch": 1.0, "transformers": 0.3, "mistralrs": 0.9, "llamacpp": 1.5}
SHIFTS = (("en", 0.01), ("zh", -0.01))
SCORES = {
    "explanations": 0.962, "held_out": 0.921, "held_out_new_wording": 0.874, "small_talk": 0.98,
    "tuned_new_wording": 0.951,
}  # fmt: skip
BASE = {"ttft": 0.004, "prefill": 40_000.0, "memory": 4.1e8, "load": 1.6}


def make_launch(label: str, block: int, rng: random.Random) -> dict[str, Any]:
    """One launch record of an engine that is ``SPEED`` times as fast as torch."""
    speed = SPEED[label.removesuffix(AA_SUFFIX)] * rng.gauss(1, 0.03)

    def repeats(value: float) -> list[float]:
        return [value * rng.gauss(1, 0.02) for _ in range(3)]

    values = {
        "ttft": repeats(BASE["ttft"] / speed),
        "prefill": repeats(BASE["prefill"] * speed),
        "memory": [BASE["memory"] * rng.gauss(1, 0.01)],
        "load": [BASE["load"] / speed],
    }
    for streams in STREAMS:
        gain = streams**0.8 if label.startswith("torch") else streams**0.15
        values[f"decode_{streams}"] = repeats(1200 * speed * gain)
        values[f"cpu_per_token_{streams}"] = repeats(0.0016 / speed / gain)
    return {
        "label": label,
        "block": block,
        "order": 0,
        "error": None,
        "checks": {"exact": 170, "tied": 2, "wrong": 0, "first_wrong": None},
        "steal_share": 0.001,
        "load_average": 2.1,
        "values": values,
    }


def make_parity(engine: str) -> dict[str, Any]:
    """The parity entry of an engine that agrees."""
    return {
        "engine": engine,
        "status": "passed",
        "passed": True,
        "reason": "The logprobs and greedy tokens agree with the reference.",
        "version": "1.0",
        "dtype": "float32",
        "settings": {},
        "prompts": 20,
        "equal": 19,
        "tied": 1,
        "max_delta": {"torch": 3e-6}.get(engine, 2.3e-5),
        "mean_delta": {"torch": 2e-7}.get(engine, 1.2e-6),
        "mean_kl": 1e-10,
        "divergence": None,
    }


@pytest.fixture(scope="session")
def results() -> dict[str, Any]:
    """What tables and figures about one model read: four engines and an A/A pair."""
    rng = random.Random(1)
    labels = [*SPEED, "torch" + AA_SUFFIX]
    launches = [make_launch(label, block, rng) for block in range(3) for label in labels]
    same = {"reason": None, "dtype": "float32", "settings": {"threads": 2}}
    entries = [
        {"label": label, "engine": label.removesuffix(AA_SUFFIX), **same} for label in labels
    ]
    ceilings = {
        "threads": 2,
        "bandwidth": {"13000000": 52.0, "64000000": 20.0},
        "matmul_fp32": 370.0,
        "matmul_bf16": 2300.0,
        "matmul_int8": 900.0,
    }
    found = metrics.summary(launches, labels, STREAMS, seed=0)
    steps = range(1, 1201)
    return {
        "schema": 1,
        "created": "2026-01-02T03:04:05+00:00",
        "command": "airust report --model runs/tiny --out reports/tiny",
        "parameters": {
            "engines": list(SPEED), "launches": 3, "cores": 2, "streams": list(STREAMS),
            "prompt_tokens": 64, "prefill_tokens": 192, "new_tokens": 48, "repeats": 3,
        },
        "host": {
            "cpu": "A processor", "cores_usable": 2, "cores_physical": 1,
            "memory_bytes": 24_000_000_000, "os": "Linux 6", "python": "3.11.9",
        },
        "versions": {"torch": "2.13.0", "mistralrs": "0.9.5"},
        "model": {
            "name": "tiny",
            "config": {
                "model_type": "qwen3", "num_hidden_layers": 4, "hidden_size": 256,
                "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 4096,
                "max_position_embeddings": 256,
            },
            "weights_sha256": {"model.safetensors": "ab" * 32},
            "tokenizer_sha256": "cd" * 32,
            "parameters": 3_300_000, "parameters_read_per_token": 3_300_000,
            "dtype": ["F32"], "weight_bytes": 13_200_000,
        },
        "missing": [{"name": "candle", "install": "make candle"}],
        "ceilings": ceilings,
        "parity": {
            "model": "tiny", "weights_sha256": "ab" * 32, "reference": "airust.gpt, float32",
            "prompts": 25, "new_tokens": 64, "tolerance": 1e-3, "passed": True,
            "engines": [make_parity(engine) for engine in SPEED],
        },
        "entries": entries,
        "launches": launches,
        "workload_sha256": "12" * 32,
        "baseline": "torch",
        "summary": found,
        "shares": metrics.shares(found, entries, ceilings, 3_300_000, STREAMS),
        "training": {
            "steps": 1200, "tokens": 9_800_000, "seconds": 280.0, "final_loss": 0.31,
            "tokens_per_s": 35_000.0, "mfu": 0.42,
            "curve": [[s, 0.3 + 8 / (1 + s / 40) * rng.gauss(1, 0.04)] for s in steps[::4]],
            "validation": [[s, 0.5 + 8 / (1 + s / 40)] for s in steps[99::100]],
        },
        "evaluation": {
            "data_sha256": "ef" * 32,
            "scores": {
                part: {lang: {"n": 640, "exact": exact + shift} for lang, shift in SHIFTS}
                for part, exact in SCORES.items()
            },
            "relations": [
                {"kind": "country", "relation": relation, "language": lang, "n": 160,
                 "exact": exact + shift, "majority": 0.05 if lang == "en" else 0.07}
                for relation, exact in (("capital", 0.83), ("currency", 0.97))
                for lang, shift in SHIFTS
            ],
            "made_up": {lang: {"n": 100, "refused": 0.41, "invented": 0.59} for lang, _ in SHIFTS},
            "perplexity": {"en": 7.21, "zh": 6.48},
        },
    }  # fmt: skip


PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture
def parrots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install the parrots as another package's engines; what children need on their path."""
    source = ast.parse((PLUGINS / "parrots.py").read_text("utf-8"))
    names = [node.name for node in source.body if isinstance(node, ast.ClassDef)]
    site = tmp_path / "site"
    info = site / "parrots-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1.0\n")
    rows = [f"{name.lower()} = parrots:{name}" for name in names]
    (info / "entry_points.txt").write_text("\n".join(["[airust.engines]", *rows]))
    path = os.pathsep.join([str(site), str(PLUGINS), os.environ.get("PYTHONPATH", "")])
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.setenv("PYTHONPATH", path)
    return path


NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?!\d|\.\d)")
SCALES = (1.0, 1e3, 1e2, 1e-3, 1e-6, 1e-9)
# Of the method, and the same in every report: 95% intervals, SHA-256, float32, TTFT's p50 ...
METHOD = {"95", "256", "32", "16", "0", "1", "2", "50", "90", "99", "8"}


def numbers(text: str) -> list[str]:
    """Every number in a text."""
    return NUMBER.findall(text)


def _forms(value: Any) -> Iterator[str]:
    """Every form in which a number of results.json may be shown, and numbers in its texts."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from numbers(str(key))
            yield from _forms(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _forms(child)
    elif isinstance(value, str):
        yield from numbers(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from (f"{value:,}", f"{value:g}", f"{value:,.0f}")
        yield from (f"{abs(value):.{digits}f}" for digits in (1, 2, 3, 4))
        for scale in SCALES:
            yield from (number(abs(value) * scale), f"{abs(value) * scale:.0f}")
        yield f"{100 * value:.1f}"


@pytest.fixture(scope="session")
def check_numbers() -> Callable[..., None]:
    """Call it with words and results: every number of the words must come from the results."""

    def check(text: str, results: dict[str, Any], derived: Iterable[str] = ()) -> None:
        known = set(_forms(json.loads(json.dumps(results)))) | METHOD | set(derived)
        unknown = [found for found in numbers(text) if found not in known]
        assert unknown == []

    return check


class _Loaded(HTMLParser):
    """Collects everything that a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.scripts = 0
        self.images_without_words = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.scripts += tag == "script"
        if tag == "img":
            self.images_without_words += not given.get("alt")
        if tag != "a":
            self.urls += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]


@pytest.fixture(scope="session")
def check_offline() -> Callable[[Path], None]:
    """Call it with a page: it fails unless the page needs nothing but itself."""
    return _check_offline


def _check_offline(page: Path) -> None:
    """No script, no address but data URIs, no style sheet from elsewhere, words for pictures."""
    text, found = page.read_text("utf-8"), _Loaded()
    found.feed(text)
    assert found.scripts == 0
    assert all(url.startswith("data:image/") for url in found.urls)
    assert not re.search(r"@import|url\(", text)
    assert found.images_without_words == 0
