"""How PyTorch's threads wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = "import os; print(os.environ.get('GOMP_SPINCOUNT'))"


def spins(code: str, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", f"{code}; {SHOW}"]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["airust.gpt.model", "airust.engines.torch"])
def test_it_is_told_before_torch_is_there(module: str) -> None:
    assert spins(f"import {module}") == "4000"


def test_import_airust_changes_nothing() -> None:
    assert spins("import airust") == "None"


def test_what_the_user_has_said_stays() -> None:
    assert spins("import airust.gpt.model", GOMP_SPINCOUNT="7") == "7"
    assert spins("import airust.gpt.model", OMP_WAIT_POLICY="active") == "None"
    assert spins("import torch, airust.gpt.model") == "None"
