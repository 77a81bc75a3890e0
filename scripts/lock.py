"""Write constraints.txt: one tested version of every package that pyproject.toml leads to.

    python scripts/lock.py              keep the pinned versions that still fit
    python scripts/lock.py --upgrade    take the newest ones

One file serves Linux, macOS and Windows: uv resolves for all of them and adds markers. Needs uv
(``pip install uv``) and a network.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
HEADER = """\
# Made by scripts/lock.py from pyproject.toml: the tested version of every package.
# torch has no "+cpu" here, so that a CPU build and a CUDA build both fit.
"""


def compile_command(uv: str, *, upgrade: bool) -> list[str]:
    """The uv call that resolves every extra for every platform."""
    command = [uv, "pip", "compile", "pyproject.toml", "--extra", "all", "--universal"]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    command += ["--output-file", LOCK.name]  # uv keeps the versions that it finds in there
    return [*command, "--upgrade"] if upgrade else command


def without_local_versions(text: str) -> str:
    """Drop local version suffixes.

    >>> without_local_versions("torch==2.13.0+cpu ; sys_platform == 'linux'")
    "torch==2.13.0 ; sys_platform == 'linux'"
    """
    lines = []
    for line in text.splitlines():
        requirement, separator, marker = line.partition(" ;")
        lines.append(requirement.split("+")[0] + separator + marker)
    return "\n".join(lines)


def main() -> int:
    """Resolve and write; 0 when constraints.txt is new."""
    parser = argparse.ArgumentParser(description="Write constraints.txt from pyproject.toml.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    arguments = parser.parse_args()
    uv = shutil.which("uv")
    if uv is None:
        print("Error: uv is not installed; run `pip install uv` first.", file=sys.stderr)
        return 2
    done = subprocess.run(compile_command(uv, upgrade=arguments.upgrade), cwd=ROOT)
    if done.returncode:
        return done.returncode
    pins = without_local_versions(LOCK.read_text("utf-8"))
    LOCK.write_text(f"{HEADER}{pins}\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
