"""The unit tests in JavaScript, by node's own runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parent / "unit"


@pytest.mark.full
@pytest.mark.parametrize("file", sorted(UNIT.glob("*.test.js")), ids=lambda file: file.name)
def test_javascript(file: Path):
    node = shutil.which("node")
    assert node, "These tests need Node.js 18 or newer: apt-get install nodejs"
    done = subprocess.run(
        [node, "--test", str(file)], capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
