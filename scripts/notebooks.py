"""Execute the notebooks of the learning path in place, and clean them.

    python scripts/notebooks.py            # all
    python scripts/notebooks.py 04 R1      # those whose names begin so

What is committed has outputs that are the same on every machine: no execution counts, times, paths
or widget state. A cell whose output depends on the machine has the tag ``nbval-ignore-output``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
CELL_TIMEOUT_S = 300
WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def lessons(*prefixes: str) -> list[Path]:
    """The notebooks of the path, or those whose names begin with one of the prefixes."""
    found = sorted(FOLDER.glob("[0-9R]*-*.ipynb"))
    return [path for path in found if not prefixes or path.name.startswith(prefixes)]


def clean(notebook: Any) -> Any:
    """Take out what differs from run to run; tags stay."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = _joined([output for output in cell.outputs if _is_kept(output)])
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    return notebook


def _is_kept(output: Any) -> bool:
    return WIDGET not in output.get("data", {}) and output.get("name") != "stderr"


def _joined(outputs: list[Any]) -> list[Any]:
    """One output for a run of prints, however the kernel has sent them."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def read(path: Path) -> Any:
    """A notebook."""
    return nbformat.read(path, as_version=4)


def write(notebook: Any, path: Path) -> None:
    """Through a temporary file."""
    nbformat.validate(notebook)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(nbformat.writes(notebook) + "\n", "utf-8")
    temporary.replace(path)


def execute(path: Path) -> Any:
    """A notebook with fresh outputs, run in its own folder; the learner's progress is not touched.

    Raises:
        nbconvert.preprocessors.CellExecutionError: a cell failed.
    """
    from nbconvert.preprocessors import ExecutePreprocessor

    notebook = read(path)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AIRUST_PROGRESS"] = str(Path(folder) / "progress.json")
        runner = ExecutePreprocessor(timeout=CELL_TIMEOUT_S, kernel_name="python3")
        runner.preprocess(notebook, {"metadata": {"path": str(path.parent)}})
    return notebook


def main(prefixes: list[str]) -> None:
    """Execute and clean."""
    for path in lessons(*prefixes):
        print(path.name, flush=True)
        write(clean(execute(path)), path)


if __name__ == "__main__":
    main(sys.argv[1:])
