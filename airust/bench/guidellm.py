"""The same server asked by guidellm: do two clients that share no code see the same figures?

guidellm lives in an environment of its own, because its dependencies are its own; only its command
is called. Both ask the same number of prompts of the same lengths, one after another, in short
turns and with either of them first, so that a phase of the machine meets both. With several
requests at once the pauses of a client decide how the server's batches fall, and the time to the
first token with them: two clients would differ without measuring differently. Its figures in our
words:

==========================  =================================================================
``time_to_first_token_ms``  our TTFT, counted from the moment at which the request goes to
                            the network instead of when it was due
``inter_token_latency_ms``  (last token - first token) / (n - 1) of an answer: our **TPOT**
``request_latency``         from the same moment to the end of the stream: our E2E and the time
                            that a server takes to close the stream
tokens / time               of the successful requests, from the first one's start to the last
                            one's end: our output rate
==========================  =================================================================

Its own ``time_per_output_token_ms`` is latency / n, with the time to the first token in it; it is
not compared.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from airust.bench.child import run_worker
from airust.types import EngineError

if TYPE_CHECKING:
    from airust.bench.serve_load import Load
    from airust.bench.serve_plan import ServePlan, Server
    from airust.bench.serve_traffic import Session

ROUNDS = 8
STREAMS = 1  # requests at once
REQUESTS = 16  # a client and round
RUN_TIMEOUT_S, TIMEOUT_S = 300.0, 1800.0
NEAR = 1.05  # times: what counts as agreement
FIGURES = ("ttft_p50", "tpot_p50", "e2e_p50", "output_rate")


def measure_both(plan: ServePlan, server: Server) -> dict[str, Any]:
    """The figures of both clients, round by round; what went wrong is told, not raised."""
    command = str(plan.guidellm)
    if plan.model is None:
        return _failed("guidellm needs the tokenizer: say with --model which weights are served.")
    if shutil.which(command) is None:
        return _failed(f"There is no command '{command}'.")
    job = {
        "kind": "agreement",
        "plan": asdict(plan),
        "server": asdict(server),
        "model": plan.model,
        "served_as": plan.served_as,
        "threads": plan.used_cores,
        "pool": None,
        "rounds": ROUNDS,
    }
    found = run_worker(job, TIMEOUT_S)
    if found["error"]:
        return _failed(found["error"])
    return {"error": None, "version": _version(command), "rounds": found["rounds"]}


def _failed(reason: str) -> dict[str, Any]:
    return {"error": reason, "version": None, "rounds": []}


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """The worker's side."""
    from airust.bench.serve_load import Load, Point, warm_up
    from airust.bench.serve_traffic import TrafficSpec, make_sessions
    from airust.bench.serve_worker import opened
    from airust.engines.openai import OpenAIEngine
    from airust.gpt.tokenizer import Tokenizer

    plan, model = job["plan"], Path(job["model"])
    spec = TrafficSpec("fixed", plan["prompt_tokens"], plan["new_tokens"], seed=plan["seed"] + 2)
    tokenizer = Tokenizer.load(model)
    sessions = make_sessions(spec, 1 + 2 * job["rounds"] * REQUESTS, tokenizer, None)
    rounds, sent = [], list[float]()
    with opened(job) as (engine, _):
        assert isinstance(engine, OpenAIEngine)
        engine.watch_sending(lambda: sent.append(time.perf_counter()))
        warm_up(engine, sessions[0][0])
        for number in range(job["rounds"]):
            own, theirs = (
                sessions[first : first + REQUESTS]
                for first in (1 + 2 * number * REQUESTS, 1 + (2 * number + 1) * REQUESTS)
            )
            load = Load(engine, own, Point("concurrency", STREAMS), "", plan["stall_s"])
            sides: dict[str, Callable[[], dict[str, Any]]] = {
                "ours": partial(_ask_ourselves, load, sent),
                "guidellm": partial(ask, plan["guidellm"], engine.settings, model, theirs),
            }
            names = reversed(sides) if number % 2 else iter(sides)
            rounds.append({name: sides[name]() for name in names})
    return {"error": None, "rounds": rounds}


def _ask_ourselves(load: Load, sent: list[float]) -> dict[str, Any]:
    """Our figures, translated: a request is due when it goes to the network.

    Args:
        sent: gathers when requests go there, one after another.
    """
    from airust.bench.serve_metrics import Targets, point_values

    sent.clear()
    asked = load.run().requests
    requests = [
        asdict(request) | {"due_s": when - load.start, "right": request.error is None}
        for request, when in zip(asked, sent, strict=True)
    ]
    found = point_values(requests, Targets())
    return {name: found.get(name) for name in FIGURES}


def ask(
    command: str, settings: dict[str, object], model: Path, sessions: Sequence[Session]
) -> dict[str, float]:
    """One run of guidellm with these questions.

    Raises:
        EngineError: it failed, or requests did.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, config, out = (Path(folder) / n for n in ("data.jsonl", "config.json", "out.json"))
        rows = [
            {"prompt": turn.messages[-1].content, "output_tokens_count": turn.max_tokens}
            for (turn,) in sessions
        ]
        data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        config.write_text(json.dumps(_config(settings, model, data, out, len(rows))), "utf-8")
        words = [command, "run", "--config", str(config), "--disable-console"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
            found = json.loads(out.read_text("utf-8"))["benchmarks"][0]
        except (OSError, ValueError, LookupError, subprocess.TimeoutExpired) as error:
            said = done.stderr.strip()[-400:] if "done" in locals() else str(error)
            raise EngineError(f"guidellm failed: {said}") from error
    good = found["requests"]["successful"]
    errors = [request["info"].get("error") for request in found["requests"]["errored"]]
    if errors or len(good) < len(rows) - 1:  # it may end before it has counted the last one
        bad = errors[0] if errors else "no reason"
        raise EngineError(f"guidellm got {len(good)} of {len(rows)} answers: {bad}")
    return read_figures(found)


def read_figures(found: dict[str, Any]) -> dict[str, float]:
    """Its figures in our words, s and tokens/s."""
    metrics, good = found["metrics"], found["requests"]["successful"]
    times = [request["info"]["timings"] for request in good]
    seconds = max(t["request_end"] for t in times) - min(t["request_start"] for t in times)
    tokens = metrics["output_token_count"]["successful"]["total_sum"]
    return {
        "ttft_p50": metrics["time_to_first_token_ms"]["successful"]["median"] / 1e3,
        "tpot_p50": metrics["inter_token_latency_ms"]["successful"]["median"] / 1e3,
        "e2e_p50": metrics["request_latency"]["successful"]["median"],
        "output_rate": tokens / seconds,
    }


def _config(
    settings: dict[str, object], model: Path, data: Path, out: Path, count: int
) -> dict[str, Any]:
    return {
        "spec": {
            "backend": {
                "kind": "openai_http",
                "target": str(settings["base_url"]).removesuffix("/v1"),
                "model": settings["model"],
                # Of the usage it needs the last one only, and not every server tells it earlier.
                "extras": {"body": {"stream_options": None}},
            },
            "profile": {"kind": "concurrent", "streams": [STREAMS]},
            "constraints": [{"kind": "max_requests", "count": count}],
            "tokenizer": {"kind": "hf_auto", "model": str(model.resolve())},
            "data": [{"kind": "json_file", "path": str(data)}],
            "outputs": [{"kind": "json", "path": str(out)}],
        }
    }


def _version(command: str) -> str:
    said = subprocess.run([command, "--version"], capture_output=True, text=True).stdout
    return said.strip().rpartition(" ")[2]


def agreement(record: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a record of ``measure_both`` says: each figure, its ratio, and whether it is near."""
    if record is None:
        return None
    figures = {}
    for name in FIGURES:
        pairs = [(x["ours"][name], x["guidellm"][name]) for x in record["rounds"]]
        if pairs and all(a and b for a, b in pairs):
            ratio = median(a / b for a, b in pairs)
            ours, theirs = (median(side) for side in zip(*pairs, strict=True))
            near = 1 / NEAR <= ratio <= NEAR
            figures[name] = {"ours": ours, "guidellm": theirs, "ratio": ratio, "near": near}
    told = {"error": record["error"], "version": record["version"]}
    return told | {"rounds": len(record["rounds"]), "figures": figures}
