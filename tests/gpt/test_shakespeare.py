"""nanoGPT's yardstick: its CPU recipe reaches 1.88 on tinyshakespeare, in five times our time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = Path(__file__).resolve().parents[3] / "shared" / "data" / "tinyshakespeare.txt"


@pytest.mark.full
@pytest.mark.skipif(not TEXT.is_file(), reason="tinyshakespeare.txt is not on this machine")
def test_the_target_is_reached_and_its_cost_is_printed(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "airust", "train", "--preset", "shakespeare-char",
        "--data", str(TEXT), "--target-val-loss", "1.88", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    found = re.search(r"loss (\d\.\d+) <= 1.88 after [\d.]+ s .*, [\d,]+ tokens, [\d,]+ tok", told)
    assert found and 1 < float(found[1]) <= 1.88
    assert (tmp_path / "run" / "model.safetensors").is_file()
