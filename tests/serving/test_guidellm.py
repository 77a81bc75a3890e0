"""guidellm, the field's load generator, against a real server.

Its pins and ours exclude each other, so it lives in a virtual environment of its own:
`make .venv-guidellm/.installed`, which `make test-full` and CI do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.conftest import ServerProcess, gauge

GUIDELLM = Path(__file__).resolve().parent.parent.parent / ".venv-guidellm/bin/guidellm"
STREAMS, REQUESTS, PROMPT, ANSWER = 4, 16, 32, 12
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform == "win32", reason="its environment is made by make"),
]


def test_a_benchmark_gives_sane_numbers(
    start_process: Callable[..., ServerProcess], model_dir: Path, tmp_path: Path
) -> None:
    assert GUIDELLM.exists(), "`make .venv-guidellm/.installed` installs guidellm"
    server = start_process("--model", f"m={model_dir}", "--port", "0")
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            GUIDELLM, "run", "--disable-console",
            "--backend", f"kind=openai_http,target={server.url},model=m",
            "--profile", f"kind=concurrent,streams={STREAMS}",
            "--constraint", f"kind=max_requests,count={REQUESTS}",
            "--tokenizer", f"kind=huggingface_auto,model={model_dir}",
            "--data", f"kind=synthetic_text,prompt_tokens={PROMPT},output_tokens={ANSWER}",
            "--output", f"kind=json,path={report}",
        ],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "no_proxy": "127.0.0.1"},
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (benchmark,) = json.loads(report.read_text())["benchmarks"]
    metrics = benchmark["metrics"]
    totals = metrics["request_totals"]
    assert (totals["successful"], totals["errored"]) == (REQUESTS, 0), benchmark["requests"]

    def figure(name: str, of: str = "mean") -> float:
        return float(metrics[name]["successful"][of])

    assert figure("output_token_count", "min") == figure("output_token_count", "max") == ANSWER
    assert figure("prompt_token_count") >= PROMPT  # and the chat form around it
    assert 1 <= figure("request_concurrency", "max") <= STREAMS
    latency_ms = figure("request_latency") * 1000
    assert 0 < figure("time_to_first_token_ms") < latency_ms
    assert 0 < figure("inter_token_latency_ms") < latency_ms
    assert figure("requests_per_second") > 0
    # Our own count agrees; before the benchmark it may ask once to see whether anybody is there.
    assert gauge(server.url, "airust_generation_tokens_total") >= REQUESTS * ANSWER
    assert server.stop() == 0
