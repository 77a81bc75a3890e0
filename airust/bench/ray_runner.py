"""A matrix on a Ray cluster: one job an engine and a machine, and what comes back as one journal.

A job claims **all** processors of its machine, so that two timed jobs never share one; Ray queues
the others. The job of an engine measures the baseline beside it, in the same blocks: its ratios
are paired within the job, whatever the machine did before or after. Merging is renaming: every
job's blocks get numbers of their own, and the same code makes ``results.json`` from the records.

A job whose process was killed is started again and goes on behind its last record, where the
machine still has its folder; the results say so. Model folders and airust must be at the same
place on all machines, as on a shared file system.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from airust.bench.engine_plan import EnginePlan
from airust.bench.journal import Journal, read_records
from airust.bench.kinds import make_plan, measurement
from airust.bench.matrix import Row, check_row
from airust.bench.pace import Status
from airust.bench.run_folder import RAW_FILE, plain
from airust.types import AirustError, EngineUnavailableError

ATTEMPTS = 3  # of a job, the first one included
BLOCKS = 1000  # more than a job has; job k's blocks begin at k * BLOCKS
GUESS_S = 300.0  # of a job, until one has ended
SCRATCH = "airust-ray"  # folder below the machine's one for temporary files
ONCE = ("parity", "quality", "answers")  # records that every job of a model has in common


@dataclass(frozen=True, slots=True)
class Machine:
    """A node of the cluster."""

    id: str
    name: str
    cpus: float


@dataclass(slots=True)
class Job:
    """One engine, or one whole report, on one machine."""

    label: str
    machine: Machine
    notebook: str
    values: dict[str, Any]  # of the plan, without its folder
    lost: list[str] = field(default_factory=list)  # why earlier attempts ended
    found: dict[str, Any] | None = None
    error: str | None = None


class RayRunner:
    """A connection to a cluster, as a context manager.

    Args:
        address: of the cluster; None starts one on this machine and stops it at the end.

    Raises:
        EngineUnavailableError: ray is not installed.
        AirustError: there is no cluster at the address.
    """

    def __init__(self, address: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise EngineUnavailableError(
                "Ray is not installed; install with: pip install 'airust[ray]'"
            ) from error
        self.ray, self.run = ray, uuid.uuid4().hex[:12]
        if address is not None:
            _check_reachable(address)
        root = str(Path(__file__).resolve().parents[2])
        search = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        try:
            ray.init(
                address=address,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": {"PYTHONPATH": search}},
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise AirustError(f"There is no Ray cluster: {str(error).splitlines()[0]}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.ray.shutdown()

    def machines(self) -> list[Machine]:
        """The nodes that have processors."""
        nodes: list[dict[str, Any]] = self.ray.nodes()  # type: ignore[no-untyped-call]
        alive = [n for n in nodes if n["Alive"] and n["Resources"].get("CPU")]
        return [
            Machine(node["NodeID"], f"machine {number}", node["Resources"]["CPU"])
            for number, node in enumerate(alive, 1)
        ]

    def measure(
        self, row: Row, folder: Path, tell: Callable[[Status], None] = lambda _: None
    ) -> list[Path]:
        """All jobs of a report; each machine's journal is then in a folder of its own.

        Raises:
            AirustError: a job failed, or was lost ATTEMPTS times; what the others found is kept.
        """
        plan = check_row(row, folder.parent)
        machines = self.machines()
        jobs = [job for machine in machines for job in self._jobs(row, plan, machine)]
        self._run(jobs, tell)
        folders = []
        for number, machine in enumerate(machines, 1):
            place = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            own = [job for job in jobs if job.machine == machine]
            if any(job.found for job in own):
                merge(own, plan, place)
                folders.append(place)
        if failed := [f"{job.label}: {job.error}" for job in jobs if job.error]:
            raise AirustError(f"{len(failed)} of {len(jobs)} jobs failed, the first: {failed[0]}")
        return folders

    def _jobs(self, row: Row, plan: Any, machine: Machine) -> list[Job]:
        if not isinstance(plan, EnginePlan):
            return [Job(row.name, machine, row.notebook, row.parameters)]
        labels = [entry.label for entry in plan.entries()]
        groups = [[labels[0], label] for label in labels[1:]] or [labels]
        shared = row.parameters | {"baseline": labels[0]}
        return [
            Job(group[-1], machine, row.notebook, shared | {"engines": group}) for group in groups
        ]

    def _run(self, jobs: Sequence[Job], tell: Callable[[Status], None]) -> None:
        ray, start = self.ray, time.monotonic()
        under_way = {self._submit(job): job for job in jobs}
        while under_way:
            done = len(jobs) - len(under_way)
            spent = time.monotonic() - start
            each = spent / done if done else GUESS_S
            left = max(each * len(under_way), 1.0)
            tell(Status(f"{len(under_way)} of {len(jobs)} jobs left", spent, left))
            ready, _ = ray.wait(list(under_way), timeout=2.0)
            for reference in ready:
                job = under_way.pop(reference)
                try:
                    job.found = ray.get(reference)
                except ray.exceptions.RayTaskError as error:  # our code raised
                    job.error = _reason(error)
                except ray.exceptions.RayError as error:  # the process or the machine is gone
                    job.lost.append(_reason(error))
                    if len(job.lost) >= ATTEMPTS:
                        job.error = f"lost {len(job.lost)} times: {job.lost[-1]}"
                    else:
                        under_way[self._submit(job)] = job

    def _submit(self, job: Job) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task = self.ray.remote(run_job).options(
            num_cpus=job.machine.cpus,
            max_retries=0,  # Ray would try again without telling
            scheduling_strategy=NodeAffinitySchedulingStrategy(job.machine.id, soft=False),
        )
        place = f"{self.run}-{job.machine.id[:8]}-{job.label}"
        return task.remote(job.notebook, job.values, place, os.getcwd())


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__


def run_job(notebook: str, values: dict[str, Any], place: str, cwd: str) -> dict[str, Any]:
    """The cluster's side: measure, and return the records."""
    if Path(cwd).is_dir():
        os.chdir(cwd)
    # Ray sets the variable to the processors of the task; what is measured chooses itself.
    os.environ.pop("OMP_NUM_THREADS", None)
    kind, started = measurement(notebook), time.time()
    name = "".join(c if c.isalnum() or c == "-" else "_" for c in place)
    folder = Path(tempfile.gettempdir()) / SCRATCH / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pid").write_text(str(os.getpid()), "utf-8")
    plan = make_plan(kind, values | {"out": str(folder)})
    kind.bench(plan, resume=True).run()
    records = read_records(folder / RAW_FILE)
    shutil.rmtree(folder, ignore_errors=True)
    return {"records": records, "started": started, "ended": time.time()}


def merge(jobs: Sequence[Job], plan: Any, folder: Path) -> None:
    """One journal from those of a machine's jobs, as if one run had made it."""
    good = [job for job in jobs if job.found]
    whole = replace(plan, out=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RAW_FILE
    path.unlink(missing_ok=True)
    journal = Journal(path)
    first = dict(_records(good[0])[0])
    parameters = first["parameters"] | plain(whole)
    if "cores" in first["parameters"]:
        parameters["cores"] = first["parameters"]["cores"]
    journal.add(["plan"], first | {"command": whole.command(), "parameters": parameters})
    reasons: list[str] = []
    for number, job in enumerate(jobs):
        journal.add(["job", job.label], _about(job))
        for record in _records(job)[1:] if job.found else ():
            key = list(record["key"])
            if key[0] == "end":
                reasons.append(record["reason"])
            elif not (key[0] in ONCE and journal.find(key)):
                journal.add(*_renamed(key, record, number))
    if len(good) == len(jobs):
        told = " ".join(dict.fromkeys(reasons))
        journal.add(["end"], {"reason": f"{told} ({len(jobs)} jobs on a Ray cluster.)"})


def _records(job: Job) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (job.found or {})["records"]
    return found


def _renamed(key: list[Any], record: dict[str, Any], job: int) -> tuple[list[Any], dict[str, Any]]:
    """A record with a key that no other job's has, and a block of its own."""
    values = {name: value for name, value in record.items() if name != "key"}
    if key[0] == "launch":
        block = key[-1] + BLOCKS * job
        return [*key[:-1], block], values | {"block": block}
    return (key if key[0] in ONCE else [*key, job]), values


def _about(job: Job) -> dict[str, Any]:
    found = job.found or {}
    return {
        "machine": job.machine.name,
        "attempts": len(job.lost) + (job.found is not None),
        "lost": job.lost,
        "error": job.error,
        "started": found.get("started"),
        "ended": found.get("ended"),
    }


def _check_reachable(address: str) -> None:
    """Ray itself goes on trying for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in host or not port.isdigit():  # a scheme of Ray's own, or "auto"
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AirustError(f"There is no Ray cluster at {address}: {reason}.") from None
