"""Run a notebook with papermill, strictly: an unknown parameter fails, and so does any cell."""

from __future__ import annotations

import ast
import logging
import os
import sys
from pathlib import Path
from typing import Any

from airust.types import AirustError, UserError

CELL_TIMEOUT_S = 3600


class NotebookFailure(AirustError):
    """A cell failed; the executed part of the notebook has been saved."""

    def __init__(self, reason: str, user_error: bool) -> None:
        super().__init__(reason)
        self.user_error = user_error  # the cell raised a UserError


def parameter_names(notebook: Path) -> tuple[str, ...]:
    """The names that the notebook's one cell with the tag ``parameters`` assigns.

    Raises:
        AirustError: it has no such cell, or several.
    """
    import nbformat

    cells = [
        cell
        for cell in nbformat.read(notebook, as_version=4).cells
        if "parameters" in cell.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise AirustError(f"'{notebook.name}' has {len(cells)} parameters cells and needs one.")
    assigned = [node for node in ast.parse(cells[0].source).body if isinstance(node, ast.Assign)]
    return tuple(t.id for node in assigned for t in node.targets if isinstance(t, ast.Name))


def run_notebook(notebook: Path, executed: Path, values: dict[str, Any]) -> None:
    """Execute a notebook with the interpreter that runs this; save it after every cell.

    Raises:
        UserError: a parameter that the notebook does not have; papermill would only warn.
        NotebookFailure: a cell raised, or ran for longer than CELL_TIMEOUT_S.
    """
    known = parameter_names(notebook)
    for name in values:
        if name not in known:
            raise UserError(f"Unknown parameter '{name}'; the notebook has: {', '.join(known)}.")
    import papermill

    # It takes lines with comments for unknown parameters; they have been checked above.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            _literal(notebook),
            _literal(executed),
            parameters=values,
            progress_bar=False,
            execution_timeout=CELL_TIMEOUT_S,
            kernel_manager_class=_kernel_manager_class(),
        )
    except papermill.PapermillExecutionError as error:
        reason = str(error.evalue).strip() or error.ename
        raise NotebookFailure(reason, error.ename == "UserError") from error
    except (RuntimeError, TimeoutError) as error:  # the kernel died, or a cell took too long
        raise NotebookFailure(str(error).strip().splitlines()[0], False) from error
    finally:
        if executed.is_file():
            _forget_paths(executed)


def _literal(path: Path) -> str:
    """papermill fills in braces in paths as if they were templates."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _kernel_manager_class() -> type:
    """A kernel of this very interpreter, whatever kernels the user has installed."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))

    class ThisInterpreter(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            launcher = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(
                argv=[*launcher, "--log-level=CRITICAL"],
                env={"PYTHONPATH": search},  # the kernel imports the airust that runs this
                display_name="Python 3",
                language="python",
            )

    return ThisInterpreter


def _forget_paths(executed: Path) -> None:
    """Take out where on this machine the notebook was read and written."""
    import nbformat

    node = nbformat.read(executed, as_version=4)
    for key in ("input_path", "output_path"):
        path = node.metadata.get("papermill", {}).get(key)
        if path:
            node.metadata["papermill"][key] = Path(path).name
    nbformat.write(node, executed)
