"""Repair compile errors with a language model, and rustc as the judge.

The loop of RustAssistant (Deligiannis et al., ICSE 2025, arXiv 2308.05177) over any engine of ours:

- ``errors``: when are two errors the same?
- ``project``: a copy of the sources that can be checked, changed and set back
- ``prompt``: what the model is told about one error
- ``changelog``: its answer, and how it is applied or turned down
- ``repair``: one group of errors at a time, until none is left or the limits are reached
"""

from __future__ import annotations

from airust.rust.assistant.project import Project, open_project
from airust.rust.assistant.repair import Limits, Outcome, Step, repair

__all__ = ["Limits", "Outcome", "Project", "Step", "open_project", "repair"]
