"""The transport of the front end, with node's test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.full
def test_the_transport():
    node = shutil.which("node")
    assert node, "this test needs node: apt-get install nodejs"
    script = Path(__file__).with_name("comm.test.mjs")
    done = subprocess.run(
        [node, "--no-warnings", "--test", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
