"""Was the machine ours while we measured? On a shared host it often is not.

Between launches the same two kernels run on every core, one bound by computing and one by memory.
A machine that gives them less than usual gives an engine less, too. Beside them stand what the
kernel counts: time that the hypervisor stole, and processor time of other processes.

A contended launch is marked and stays among the others: leaving launches out after looking at
them would let the choice, rather than the engine, decide the result.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median, quantiles
from typing import Any

import numpy as np
import psutil

from airust.bench.child import run_worker
from airust.bench.host import usable_cores

HASHED = bytes(8 << 20)  # a few milliseconds of SHA-256
COPIED = np.zeros(8 << 20)  # 64 MiB, beyond most caches
TRIALS = 15
KERNELS = {  # name: (in words, times the run's usual time that count as slow)
    "compute_s": ("computing", 1.25),
    "memory_s": ("memory", 1.4),  # even alone it varies by an eighth
}
STOLEN = 0.05  # share of the machine's processor time
OTHERS = 0.10  # the same


def calibrate() -> dict[str, float]:
    """Seconds that each kernel takes on all cores at once, and the load average."""
    cores = usable_cores()
    out = [np.empty_like(COPIED) for _ in range(cores)]
    with ThreadPoolExecutor(cores) as pool:
        return {
            "compute_s": _usual(pool, [lambda: hashlib.sha256(HASHED)] * cores),
            "memory_s": _usual(pool, [partial(np.copyto, place, COPIED) for place in out]),
            "load_average": psutil.getloadavg()[0],
        }


def _usual(pool: ThreadPoolExecutor, kernels: Sequence[Callable[[], object]]) -> float:
    """The median of several trials; a trial lasts until the slowest core is done."""
    seconds = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        for future in [pool.submit(kernel) for kernel in kernels]:
            future.result()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


class HostActivity:
    """What the machine did since this was made."""

    def __init__(self) -> None:
        self.times, self.start = psutil.cpu_times(), time.perf_counter()

    def since(self, own_cpu_s: float | None) -> dict[str, float | None]:
        """Shares of all processor time: stolen by the hypervisor, used by other processes.

        Args:
            own_cpu_s: what the measured process used; None where it is not known.
        """
        now = psutil.cpu_times()
        spent = sum(now) - sum(self.times)
        stolen = _field(now, "steal") - _field(self.times, "steal")
        idle = sum(_field(now, f) - _field(self.times, f) for f in ("idle", "iowait"))
        others = None if own_cpu_s is None else max(0.0, spent - stolen - idle - own_cpu_s)
        return {
            "steal_share": stolen / spent if spent > 0 else 0.0,
            "others_share": others / spent if others is not None and spent > 0 else None,
            "load_average": psutil.getloadavg()[0],
        }


def _field(times: Any, name: str) -> float:
    return float(getattr(times, name, 0.0))  # not every system counts everything


def usual_times(calibrations: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The lower quartile of each kernel's times: the machine when it is left alone."""
    found = {}
    for kernel in KERNELS:
        times = [calibration[kernel] for calibration in calibrations]
        found[kernel] = quantiles(times, n=4)[0] if len(times) > 1 else times[0]
    return found


def reasons(record: Mapping[str, Any], usual: Mapping[str, float]) -> list[str]:
    """Why a launch counts as contended; empty where it does not."""
    found = []
    for kernel, (name, limit) in KERNELS.items():
        factor = max(times[kernel] for times in record["calibration"]) / usual[kernel]
        if factor > limit:
            found.append(f"{name} beside it took {factor:.2f} times as long as usual")
    if record["steal_share"] > STOLEN:
        found.append(f"{record['steal_share']:.0%} of processor time stolen")
    if (record["others_share"] or 0.0) > OTHERS:
        found.append(f"other processes used {record['others_share']:.0%} of the machine")
    return found


def watched_worker(job: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """What a worker returns, what else the machine did, and a calibration before and after."""
    before, activity = calibrate(), HostActivity()
    result = run_worker(job, timeout_s)
    found = activity.since(result.get("cpu_s"))
    return {**result, **found, "calibration": [before, calibrate()]}
