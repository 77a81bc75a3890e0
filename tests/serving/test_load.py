"""The scripts that put a server under load: what they count, and what they make of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airust.engines.base import Engine
from tests.serving.conftest import Serve

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"


def script(name: str, *args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / name), *map(str, args)]
    environment = {"PYTHONPATH": str(SCRIPTS.parent), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )


def test_the_client_counts_what_the_server_says(
    torch_engine: Engine, serve: Serve, tmp_path: Path
) -> None:
    server = serve(torch_engine)
    before = torch_engine.stats().generated_tokens
    done = script(
        "load.py", server.url, "--streams", "1,3", "--seconds", "0.3", "--tokens", "8",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [run["streams"] for run in runs] == [1, 3]
    assert sum(run["tokens"] for run in runs) == torch_engine.stats().generated_tokens - before
    for run in runs:
        assert run["answers"] >= run["streams"]
        assert run["counted"] == "usage"
        assert 0 < run["ttft_p50_ms"] <= run["ttft_p99_ms"] < run["seconds"] * 1000
        assert "failure" not in run


def test_the_client_tells_a_failure(torch_engine: Engine, serve: Serve, tmp_path: Path) -> None:
    done = script("load.py", serve(torch_engine).url, "--model", "none", cwd=tmp_path)
    assert "404" in json.loads(done.stdout)["failure"]


def launch(label: str, number: int, rate: float, p99: float) -> dict[str, Any]:
    runs = [
        {"streams": n, "tokens_per_s": rate * n**0.5, "ttft_p50_ms": p99 / 2, "ttft_p99_ms": p99}
        for n in (1, 16, 32, 64)
    ]
    return {"round": number, "label": label, "idle_cpu_share": 0.004, "runs": runs}


def test_the_report_judges_by_round(tmp_path: Path) -> None:
    records = []
    for number, noise in enumerate((1.0, 2.0, 0.5)):  # of the machine; it cancels in the ratios
        records += [
            launch("engine", number, 1000 * noise, 10),
            launch("airust", number, 900 * noise, 20),
            launch("transformers", number, 100 * noise, 200),
            launch("llamacpp", number, 750 * noise, 15),
        ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "raw.jsonl").write_text(lines)
    host = {"cpu": "a CPU", "cores_usable": 2}
    about = {"model": "m", "tokens": 64, "seconds": 5.0, "host": host}
    (tmp_path / "about.json").write_text(json.dumps(about))
    done = script("load_report.py", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    rows = {row["what"]: row for row in results["rows"]}

    def row(what: str) -> tuple[float, bool]:
        return pytest.approx(rows[what]["figure"]["estimate"]), rows[what]["kept"]

    assert row("share of the engine's own, 64 streams") == (0.9, True)
    assert row("idle, share of one core") == (0.004, True)
    assert row("airust serve over transformers serve, throughput") == (9.0, True)
    assert row("airust serve over llama_cpp.server, throughput") == (1.2, False)
    assert row("airust serve over llama_cpp.server, TTFT p99") == (20 / 15, False)
    share = rows["share of the engine's own, 64 streams"]["figure"]
    assert share["low"] == pytest.approx(0.9)
    summary = (tmp_path / "summary.md").read_text()
    assert f"![{results['alt_text']}](throughput.png)" in summary
    assert "transformers serve 566 tokens/s" in results["alt_text"]
    assert (tmp_path / "throughput.png").stat().st_size > 10_000


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="counts file descriptors")
def test_a_short_soak_finds_every_answer_right(tmp_path: Path) -> None:
    """Its trends mean something only over 10,000 requests."""
    done = script("soak.py", "--requests", "300", cwd=tmp_path)
    assert "rss_mb: " in done.stdout, done.stderr
    assert "wrong: " not in done.stdout, done.stdout
