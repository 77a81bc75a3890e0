"""When a launch counts as contended. Numbers are made up; nothing here is timed."""

from __future__ import annotations

from typing import Any

import pytest

from airust.bench.contention import HostActivity, calibrate, reasons, usual_times

USUAL = {"compute_s": 0.005, "memory_s": 0.006}


def _record(compute: float = 1.0, memory: float = 1.0, **shares: float | None) -> dict[str, Any]:
    quiet = {"compute_s": 0.005, "memory_s": 0.006, "load_average": 1.0}
    after = quiet | {"compute_s": 0.005 * compute, "memory_s": 0.006 * memory}
    return {"calibration": [quiet, after], "steal_share": 0.0, "others_share": 0.0} | shares


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (_record(), []),
        (_record(compute=1.1, memory=1.3, steal_share=0.01, others_share=0.05), []),
        (_record(others_share=None), []),  # a launch that failed tells no processor time
        (_record(compute=1.5), ["computing beside it took 1.50 times as long as usual"]),
        (_record(memory=3.0), ["memory beside it took 3.00 times as long as usual"]),
        (_record(steal_share=0.2), ["20% of processor time stolen"]),
        (_record(others_share=0.5), ["other processes used 50% of the machine"]),
    ],
)
def test_what_marks_a_launch(record: dict[str, Any], words: list[str]) -> None:
    assert reasons(record, USUAL) == words


def test_a_slow_machine_before_the_launch_counts_as_well() -> None:
    record = _record(compute=2.0)
    record["calibration"].reverse()
    assert len(reasons(record, USUAL)) == 1


def test_the_usual_time_is_that_of_the_quiet_phases() -> None:
    """Half of the run beside another program does not make its slowness usual."""
    times = [0.005] * 5 + [0.010] * 5
    found = usual_times([{"compute_s": t, "memory_s": 2 * t} for t in times])
    assert found == {"compute_s": pytest.approx(0.005), "memory_s": pytest.approx(0.010)}
    assert usual_times([{"compute_s": 1.0, "memory_s": 2.0}])["memory_s"] == 2.0


def test_the_kernels_run() -> None:
    found = calibrate()
    assert found["compute_s"] > 0 and found["memory_s"] > 0 and found["load_average"] >= 0


def test_the_shares_are_shares() -> None:
    activity = HostActivity()
    sum(range(3_000_000))
    found = activity.since(own_cpu_s=0.0)
    assert 0 <= (found["steal_share"] or 0) <= 1 and 0 <= (found["others_share"] or 0) <= 1
    assert activity.since(own_cpu_s=None)["others_share"] is None
