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

pytestmark = pytest.mark.full
NOTEBOOK_TIMEOUT_S = 60
CI_SLOWER = 3  # its two cores are shared with other programs


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
    notebook.cells = merged
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path):
    nbformat.write(with_solutions(path), tmp_path / path.name)
    ini = tmp_path / "pytest.ini"
    ini.write_text("[pytest]\n")
    search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(ini), "-qx", "-p", "no:cacheprovider"),
            *("--nbval", "--nbval-current-env"),
            *("--nbval-sanitize-with", str(Path(__file__).with_name("sanitize.cfg"))),
            *("--nbval-cell-timeout", str(NOTEBOOK_TIMEOUT_S)),
            str(tmp_path / path.name),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": search,
            "AIRUST_PROGRESS": str(tmp_path / "progress.json"),
        },
        capture_output=True,
        text=True,
        timeout=NOTEBOOK_TIMEOUT_S * CI_SLOWER,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # All exercises, and nothing but them, have been passed.
    passed = (tmp_path / "progress.json").read_text("utf-8")
    assert all(f'"{name}"' in passed for name in solutions(path)), lesson_id(path)
