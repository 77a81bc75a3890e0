"""Programs end when they should, with everything that they started."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from airust.rust.process import run_process

PYTHON = sys.executable


def run(script: str, *args: str, timeout_s: float = 60, **more):
    return run_process([PYTHON, "-c", script, *args], timeout_s=timeout_s, **more)


def test_output_input_and_exit_code():
    done = run("import sys; print(input()); print('e', file=sys.stderr); sys.exit(3)", stdin="水")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "水\n", "e\n")
    assert not done.timed_out and not done.truncated


def test_output_comes_while_the_program_runs():
    seen: list[tuple[str, str]] = []
    script = "import sys; sys.stdout.write('a水b'); sys.stdout.flush(); sys.stderr.write('c')"
    done = run(script, on_text=lambda stream, text: seen.append((stream, text)))
    assert "".join(text for stream, text in seen if stream == "stdout") == done.stdout == "a水b"
    assert ("stderr", "c") in seen


def test_a_program_may_leave_its_input_unread():
    assert run("print(1)", stdin="x" * 5_000_000).stdout == "1\n"


def test_the_deadline_ends_a_program():
    done = run("print('begun', flush=True)\nwhile True: pass", timeout_s=3)
    assert done.timed_out and done.stdout == "begun\n"


def test_the_deadline_also_ends_one_that_closed_its_output():
    script = "import os, time; os.close(1); os.close(2); time.sleep(600)"
    assert run(script, timeout_s=3).timed_out


def test_too_much_output_ends_a_program():
    done = run("while True: print('x' * 100)", max_output_bytes=5_000)
    assert done.truncated and len(done.stdout) == 5_000 and not done.timed_out


CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(child.pid))
print("ready", flush=True)
time.sleep(600 if sys.argv[2] == "stay" else 0)
"""


def gone(pid: int) -> bool:
    """Within a minute; a zombie that nobody has reaped counts as gone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", ["stay", "leave"])
def test_children_end_with_the_program(tmp_path: Path, how: str):
    file = tmp_path / "pid"
    done = run(CHILD, str(file), how, timeout_s=5)
    assert done.stdout == "ready\n" and done.timed_out == (how == "stay")
    assert gone(int(file.read_text()))


def test_ctrl_c_ends_it(tmp_path: Path):
    file = tmp_path / "pid"

    def interrupt(stream: str, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(CHILD, str(file), "stay", on_text=interrupt)
    assert gone(int(file.read_text()))
