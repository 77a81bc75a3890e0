"""One launch of one server, in a process of its own: start it, warm it up, ask everything."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from airust.bench.host import memory_bytes, peak_memory_bytes, thread_settings
from airust.bench.own_server import MODEL, own_server
from airust.bench.serve_load import Load, Point, warm_up
from airust.bench.serve_traffic import from_json
from airust.engines.base import Engine
from airust.engines.registry import load_engine, parse_spec


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """The worker's side of a launch; ``job["points"]`` are worked through in their order."""
    start = time.perf_counter()
    with opened(job) as (engine, pid):
        result: dict[str, Any] = {
            "error": None,
            "load_s": time.perf_counter() - start,
            "settings": {k: v for k, v in engine.settings.items() if k != "base_url"},
            "server_cores": _cores(pid),
            "points": {},
        }
        for number, given in enumerate(job["points"]):
            point, sessions = Point(given["kind"], given["value"]), from_json(given["sessions"])
            if number == 0:
                result["warm_up_s"] = warm_up(engine, sessions[0][0])
                sessions = sessions[1:]  # it has been asked already
            before = _cpu_s(pid)
            found = Load(engine, sessions, point, job["seed"] + point.key, job["stall_s"]).run()
            cpu_s = None if before is None else (_cpu_s(pid) or before) - before
            result["points"][point.key] = found.to_dict() | {"server_cpu_s": cpu_s}
        own = job["server"]["kind"] != "url"
        result["peak_memory_bytes"] = peak_memory_bytes(pid) if own else None
        result["memory_bytes"] = memory_bytes()
        result["cpu_s"] = time.process_time() + (_cpu_s(pid) or 0.0 if pid else 0.0)
        result["threads"] = thread_settings()
    return result


@contextlib.contextmanager
def opened(job: dict[str, Any]) -> Iterator[tuple[Engine, int | None]]:
    """The engine that asks, and the process of the server where it is ours."""
    server = job["server"]
    if server["kind"] == "engine":
        name, options = parse_spec(server["where"])
        with load_engine(name, job["model"], **options) as engine:
            yield engine, None
    elif server["kind"] == "url":
        where = {"base_url": server["where"], "served_as": job["served_as"]}
        with _client(where if job["served_as"] else {}, server["where"]) as engine:
            yield engine, None
    else:
        with (
            own_server(server["where"], Path(job["model"])) as own,
            _client({"base_url": own.url, "served_as": MODEL}, own.url) as engine,
        ):
            yield engine, own.pid


def _client(options: dict[str, Any], url: str) -> Engine:
    # A second attempt would hide a failure, and count its time as one answer's.
    return load_engine("openai", options.get("served_as") or url, retries=0, **options)


def _cpu_s(pid: int | None) -> float | None:
    if pid is None:
        return None
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _cores(pid: int | None) -> int | None:
    process = psutil.Process(pid)
    return len(process.cpu_affinity()) if pid and hasattr(process, "cpu_affinity") else None
