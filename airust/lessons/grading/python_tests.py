"""Run the tests of grade.py, each in a process of its own, by the standard library's unittest."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from airust.lessons.grading.assignment import Tests
from airust.rust.process import run_process

PROGRAM = "AIRUST_PROGRAM"  # where a test finds the program that cargo has built
_TRACE = re.compile(r"^Traceback \(most recent call last\):\n(.*?)^-{40}", re.M | re.S)


def run_test(name: str, tests: Tests, folder: Path, program: Path | None = None) -> str:
    """Why a test fails; empty where it passes."""
    env = {
        # neither caches nor colours in what a learner sees
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
        **({PROGRAM: str(program)} if program else {}),
    }
    done = run_process(
        [sys.executable, "grade.py", f"Grade.{name}"],
        cwd=folder, env=env, timeout_s=tests.timeout_s,
    )  # fmt: skip
    if done.timed_out:
        return f"stopped after {tests.timeout_s:g} s"
    if done.truncated:
        return "stopped: it printed too much"
    if done.exit_code == 0:
        return "" if re.search(r"^OK$", done.stderr, re.M) else f"grade.py has no test {name}"
    return _reason(done.stderr)


def _reason(stderr: str) -> str:
    """The last line of the trace that belongs to no frame, without the name of an assertion.

    >>> trace = "Traceback (most recent call last):\\n  File x\\nAssertionError: too few\\n"
    >>> _reason(trace + "-" * 70)
    'too few'
    """
    found = _TRACE.search(stderr)
    lines = (found[1] if found else stderr).splitlines()
    said = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(: |$)", line)]
    last = said[-1] if said else next((line for line in reversed(lines) if line.strip()), "failed")
    return last.removeprefix("AssertionError: ")
