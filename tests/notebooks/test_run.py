"""Every notebook runs, gives the committed outputs, and its solutions pass where stubs do not.

A copy with each exercise's solution behind its stub is given to nbval; the output that is expected
of a solution is the line of a passed check.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.lesson_files import (
    NOTEBOOKS,
    ROOT,
    exercise_of,
    lesson_id,
    script,
    solutions,
    tags,
)
from tests.rust.conftest import require_toolchain

pytestmark = pytest.mark.full
NOTEBOOK_TIMEOUT_S = 60
CI_SLOWER = 4  # its two cores are shared with other programs
# Seen with ipykernel 7.4 on a crowded machine: the kernel idles over a request that it has not
# noticed, until any other message comes. One more try tells that from a cell that is too slow.
TIMED_OUT = "Timeout of"


def with_solutions(path: Path) -> nbformat.NotebookNode:
    notebook = script.read(path)
    found = solutions(path)
    merged = []
    for cell in notebook.cells:
        merged.append(cell)
        if "exercise" in tags(cell):
            name = exercise_of(cell)
            solved = nbformat.v4.new_code_cell(found[name])
            text = f"✓ {name}\n"
            solved.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
            merged.append(solved)
    for number, cell in enumerate(merged):
        if cell.cell_type == "code":
            cell.execution_count = number  # nbval takes a cell without one for never executed
    notebook.cells = merged
    return notebook


def run_nbval(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", "pytest.ini", "-qx", "-p", "no:cacheprovider"),
            *("--nbval", "--nbval-current-env"),
            *("--nbval-sanitize-with", str(Path(__file__).with_name("sanitize.cfg"))),
            *("--nbval-cell-timeout", str(NOTEBOOK_TIMEOUT_S * CI_SLOWER // 2)),
            str(path),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": search,
            "AIRUST_PROGRESS": str(folder / "progress.json"),
            "OMP_NUM_THREADS": "1",  # small models; more threads than free cores only wait
        },
        capture_output=True,
        text=True,
        timeout=NOTEBOOK_TIMEOUT_S * CI_SLOWER,
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path):
    if path.name.startswith("R"):
        require_toolchain()
    copy = tmp_path / path.name
    nbformat.write(with_solutions(path), copy)
    done = run_nbval(copy, tmp_path)
    if done.returncode and TIMED_OUT in done.stdout:
        done = run_nbval(copy, tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # Every exercise has been passed by its solution.
    passed = (tmp_path / "progress.json").read_text("utf-8")
    assert all(f'"{name}"' in passed for name in solutions(path)), lesson_id(path)
