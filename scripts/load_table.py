"""What serving costs, and how other servers do: the load table, in one command.

    python scripts/load_table.py --model runs/tiny --out reports/serving-2026-11-28

Each round launches everything once, in an order drawn anew, and asks it with ``load.py``:

* our engine in a process of its own, at 1, 16 and 64 streams;
* the same engine behind `airust serve`, likewise, and at 32 streams; before that, idle;
* the rivals on the same weights at 32 streams: `transformers serve` as it comes and with
  continuous batching, and llama-cpp-python's server, which answers one request at a time.

Everybody gets the same questions and decodes greedily to ``--tokens`` tokens: the end-of-turn token
is taken out of a copy of the model, so that no answer ends early. Each launch adds a line to
``raw.jsonl`` and ``load_report.py`` judges anew; a run that was stopped goes on where it was.

The rivals need: pip install accelerate "llama-cpp-python[server]"
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from airust.bench.host import describe_host, usable_cores
from airust.gpt.checkpoint import load_model, save_model
from airust.gpt.gguf import save_gguf
from airust.gpt.tokenizer import Tokenizer

HERE = Path(__file__).resolve().parent
OWN_STREAMS, RIVAL_STREAMS = "1,16,64", "32"
IDLE_S = 5.0
START_S = 120.0  # the longest that a server may take to come up
FEW = 4  # streams that warm a rival up


class Failed(Exception):
    """A launch that gave no measurement."""


@dataclass(frozen=True)
class Server:
    """How to start one, and what it calls the model."""

    command: list[str]
    model: str
    probe: str  # a path that answers once the model is there


def main() -> None:
    """Measure what is missing, then write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path("runs/tiny"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument(
        "--only", default="engine,airust,transformers,transformers-cb,llamacpp", help="what to run"
    )
    options = parser.parse_args()
    # Whoever stops us so must not leave a server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.out.mkdir(parents=True, exist_ok=True)
    journal = options.out / "raw.jsonl"
    done, failed = _done(journal), set[str]()
    with tempfile.TemporaryDirectory() as temporary:
        model = endless(options.model, Path(temporary) / "endless")
        about = {
            "model": str(options.model), "tokens": options.tokens, "seconds": options.seconds,
            "host": describe_host(),
        }  # fmt: skip
        (options.out / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        for number in range(options.rounds):
            labels = options.only.split(",")
            random.Random(number).shuffle(labels)
            for label in labels:
                if (number, label) in done or label in failed:
                    continue
                print(f"round {number + 1} of {options.rounds}: {label}", file=sys.stderr)
                try:
                    record = {"round": number, "label": label} | _measure(label, model, options)
                except (Failed, subprocess.SubprocessError) as error:
                    print(f"{label} is left out: {error}", file=sys.stderr)
                    failed.add(label)
                    continue
                with journal.open("a") as lines:
                    lines.write(json.dumps(record) + "\n")
                _report(options.out)


def _report(out: Path) -> None:
    """After every launch, so that a run that is stopped leaves what it has."""
    subprocess.run([sys.executable, HERE / "load_report.py", out], check=True, stdout=sys.stderr)


def _done(journal: Path) -> set[tuple[int, str]]:
    if not journal.exists():
        return set()
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    return {(record["round"], record["label"]) for record in records}


def endless(model: Path, copy: Path) -> Path:
    """The model without its end-of-turn token: that one's logit is always 0, never the largest."""
    gpt, tokenizer = load_model(model), Tokenizer.load(model)
    gpt.lm_head.weight.data[tokenizer.turn_end] = 0
    save_model(gpt, tokenizer, copy)
    save_gguf(copy, copy.with_suffix(".gguf"))
    return copy


def _measure(label: str, model: Path, options: argparse.Namespace) -> dict[str, Any]:
    if label == "engine":
        return {"runs": _ask(f"torch:{model}", OWN_STREAMS, FEW, options)}
    with running(label, model) as (url, name, process):
        if label != "airust":
            return {"runs": _ask(url, RIVAL_STREAMS, FEW, options, name)}
        _ask(url, "1", 1, options, name, seconds=0)  # whoever has never been asked does nothing
        idle = _idle_share(process)
        streams = f"{OWN_STREAMS},{RIVAL_STREAMS}"
        return {"idle_cpu_share": idle, "runs": _ask(url, streams, FEW, options, name)}


def _ask(
    target: str, streams: str, warm: int, options: argparse.Namespace, model: str | None = None,
    seconds: float | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    command: list[object] = [
        sys.executable, HERE / "load.py", target, "--streams", streams, "--warm", warm,
        "--seconds", options.seconds if seconds is None else seconds, "--tokens", options.tokens,
    ]  # fmt: skip
    if model is not None:
        command += ["--model", model]
    done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    for run in runs:
        if "failure" in run:
            raise Failed(run["failure"])
    return runs


def _idle_share(process: subprocess.Popen[bytes]) -> float:
    """The share of one core that the server uses while nobody asks."""
    watched = psutil.Process(process.pid)
    time.sleep(1)
    before, start = watched.cpu_times(), time.perf_counter()
    time.sleep(IDLE_S)
    after, seconds = watched.cpu_times(), time.perf_counter() - start
    return (after.user + after.system - before.user - before.system) / seconds


@contextlib.contextmanager
def running(label: str, model: Path) -> Iterator[tuple[str, str, subprocess.Popen[bytes]]]:
    """A server under its own name, as long as the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = _server(label, model, port)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(server.command, stdout=log, stderr=log, cwd=model.parent)
        try:
            url = f"http://127.0.0.1:{port}"
            if not _comes_up(url + server.probe, process):
                log.seek(0)
                raise Failed(f"does not come up: {log.read()[-2000:].decode()}")
            yield url, server.model, process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _server(label: str, model: Path, port: int) -> Server:
    python, at = sys.executable, str(port)
    transformers = [
        python,
        "-m",
        "transformers.cli.transformers",
        "serve",
        str(model),
        "--port",
        at,
    ]
    commands = {
        "airust": [python, "-m", "airust", "serve", "--model", f"m={model}", "--port", at],
        "transformers": transformers,
        "transformers-cb": [*transformers, "--continuous-batching"],
        "llamacpp": [
            python, "-m", "llama_cpp.server", "--model", f"{model}.gguf", "--port", at,
            "--n_ctx", "1024", "--n_threads", str(usable_cores()), "--model_alias", "m",
            "--interrupt_requests", "false",  # else a new request cuts off the running one
        ],
    }  # fmt: skip
    if label.startswith("transformers"):
        return Server(commands[label], str(model), "/health")
    return Server(commands[label], "m", "/v1/models")


def _comes_up(url: str, process: subprocess.Popen[bytes]) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            opener.open(url, timeout=5).close()
            return True
        time.sleep(0.1)
    return False


if __name__ == "__main__":
    main()
