"""One launch of one engine: a child process that reads a job from stdin and writes a result.

    python -m airust.bench.worker < job.json > result.json

The job is one line of JSON; stdin stays open and its end tells the worker that nobody waits any
more. Standard output carries the result alone: what an engine prints there goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airust.bench.host import memory_bytes, peak_memory_bytes, thread_settings
from airust.types import AirustError

if TYPE_CHECKING:
    from airust.engines.base import Engine


def main() -> int:
    """Run the job from stdin."""
    result_fd = os.dup(1)
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    result = run_job(job)
    with os.fdopen(result_fd, "w", encoding="utf-8") as out:
        json.dump(result, out)
    # Engines may keep native threads that would hold up or crash a normal exit.
    sys.stderr.flush()
    os._exit(0)


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Do what the job asks; a failure is a result too."""
    _use_cores(job["threads"])
    try:
        return JOBS[job["kind"]](job)
    except AirustError as error:
        return {"error": str(error)}
    except Exception as error:  # an engine's own exception type must not lose the launch's record
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}


def _use_cores(count: int) -> None:
    """The same number of cores for every engine, whatever its own thread settings are."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def launch(job: dict[str, Any]) -> dict[str, Any]:
    """Load an engine and time the workload."""
    from airust.bench.measure import run_workload
    from airust.bench.own_server import cpu_clock, served, told_settings
    from airust.bench.workload import Workload

    workload = Workload.from_dict(job["workload"])
    before = memory_bytes()
    start = time.perf_counter()
    with served(job) as (where, server), _load(job, where) as engine:
        result: dict[str, Any] = {
            "error": None,
            "load_s": time.perf_counter() - start,
            "memory_before_bytes": before,
            "memory_loaded_bytes": memory_bytes(),
            "settings": told_settings(engine.settings, job.get("serve")),
            "batching": engine.capabilities.batching,
        }
        clock = cpu_clock(server)
        steps = run_workload(engine, workload, job["seconds"], clock)
        result["steps"] = [step.to_dict() for step in steps]
        behind = peak_memory_bytes(server) if server else 0
        result["peak_memory_bytes"] = peak_memory_bytes() + behind
        result["cpu_s"] = clock()
        result["threads"] = thread_settings()
    return result


def _load(job: dict[str, Any], where: dict[str, Any]) -> Engine:
    from airust.engines.registry import load_engine

    return load_engine(job["engine"], job["model"], **job["options"], **where)


def reference(job: dict[str, Any]) -> dict[str, Any]:
    """What every prompt of the workload should be answered with."""
    from airust.bench.reference import answer_workload
    from airust.bench.workload import Workload

    answers = answer_workload(Path(job["model"]), Workload.from_dict(job["workload"]))
    return {"error": None, "answers": answers}


def parity(job: dict[str, Any]) -> dict[str, Any]:
    """The parity report of the given engines."""
    from airust.bench.parity_gate import run_parity_job

    return {"error": None, "parity": run_parity_job(job)}


def ceilings(job: dict[str, Any]) -> dict[str, Any]:
    """Bandwidth and matrix rates with the thread settings that the engines get."""
    from airust.bench.ceilings import measure

    return {"error": None, "ceilings": measure(job["working_sets"]).to_dict()}


def continued(job: dict[str, Any]) -> dict[str, Any]:
    """The reference's greedy answers to given prompts."""
    from airust.bench.reference import answer_prompts

    return {
        "error": None,
        "answers": answer_prompts(Path(job["model"]), job["prompts"], job["count"]),
    }


def serve(job: dict[str, Any]) -> dict[str, Any]:
    """One launch of one server."""
    from airust.bench import serve_worker

    return serve_worker.run_job(job)


def agreement(job: dict[str, Any]) -> dict[str, Any]:
    """A server seen by our client and by guidellm."""
    from airust.bench import guidellm

    return guidellm.run_job(job)


def train(job: dict[str, Any]) -> dict[str, Any]:
    """One launch of training."""
    from airust.bench import train_worker

    return train_worker.run_job(job)


def quality(job: dict[str, Any]) -> dict[str, Any]:
    """How good one engine's answers are."""
    from airust.bench import quality

    return quality.run_job(job)


JOBS = {
    "quality": quality,
    "train": train,
    "launch": launch,
    "reference": reference,
    "continue": continued,
    "parity": parity,
    "ceilings": ceilings,
    "serve": serve,
    "agreement": agreement,
}

if __name__ == "__main__":
    sys.exit(main())
