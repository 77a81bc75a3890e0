"""Install airust and its pinned packages into the Python that runs this file.

    python scripts/install.py
    python scripts/install.py --extras dev,llamacpp
    python scripts/install.py --torch-index ""      no other index than the one pip is set to
    python scripts/install.py --torch-only          for an environment of another program

torch comes first. On Linux its standard build brings gigabytes of CUDA libraries, so a machine
without an NVIDIA GPU gets the CPU build: from what pip already searches (PIP_FIND_LINKS too), or
else from --torch-index. A torch of the pinned version that is already there stays, whatever its
build. Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTORCH_CPU = "https://download.pytorch.org/whl/cpu"
LARGE_BUILD = """\
Warning: no CPU build of torch {version} was found, in {where}.
The standard build comes instead: several gigabytes of CUDA libraries that this machine cannot use.
Ctrl+C stops; TORCH_INDEX=<url of an index with CPU builds> is the way round.
"""


def pinned_torch(constraints: str) -> str:
    """The version in constraints.txt.

    >>> pinned_torch("tokenizers==0.23.3\\ntorch==2.13.0 ; sys_platform == 'linux'\\n")
    '2.13.0'
    """
    found = re.search(r"^torch==([^\s;]+)", constraints, flags=re.MULTILINE)
    if found is None:
        raise SystemExit("Error: constraints.txt does not pin torch; run scripts/lock.py.")
    return found[1]


def installed_torch() -> str | None:
    """The installed version without its build suffix ("+cpu", "+cu130")."""
    try:
        return importlib.metadata.version("torch").split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def has_nvidia_gpu() -> bool:
    """Whether the driver shows a GPU; nvidia-smi may be there without one."""
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return True
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def pip(*arguments: str) -> None:
    """Run pip; its own message is enough when it fails."""
    code = subprocess.run([sys.executable, "-m", "pip", *arguments], cwd=ROOT).returncode
    if code:
        raise SystemExit(code)


def listed_versions(answer: str) -> list[str]:
    """What `pip index versions` says an index has; other lines tell what is installed.

    >>> listed_versions("torch (2.15.0)\\nAvailable versions: 2.15.0, 2.13.0+cpu\\n  LATEST: 9.9")
    ['2.15.0', '2.13.0+cpu']
    """
    found = re.search(r"^Available versions: (.*)$", answer, flags=re.MULTILINE)
    return found[1].split(", ") if found else []


def offers(version: str, *source: str) -> bool:
    """Whether an index lists this torch version. An unreachable one answers no, in seconds."""
    command = [sys.executable, "-m", "pip", "index", "versions", "torch", *source]
    # Not a slow mirror's default of minutes: the question is only whether someone answers.
    environment = os.environ | {"PIP_DEFAULT_TIMEOUT": "10", "PIP_RETRIES": "1"}
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=90, env=environment, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return False
    return version in listed_versions(answer.stdout)


def install_torch(version: str, index: str) -> None:
    """Install torch in the build that fits this machine; the other packages follow later."""
    if installed_torch() == version:
        return
    if sys.platform != "linux" or has_nvidia_gpu():
        pip("install", "--no-deps", f"torch=={version}")
        return
    cpu = f"{version}+cpu"
    if offers(cpu):
        pip("install", "--no-deps", f"torch=={cpu}")
    elif index and offers(cpu, "--index-url", index):
        pip("install", "--no-deps", "--index-url", index, f"torch=={cpu}")
    else:
        where = "what pip searches" + (f" and {index}" if index else "")
        print(LARGE_BUILD.format(version=version, where=where), file=sys.stderr, flush=True)
        pip("install", "--no-deps", f"torch=={version}")


def main() -> None:
    """Install torch, then the project with its extras, all at the pinned versions."""
    parser = argparse.ArgumentParser(description="Install airust and its pinned packages.")
    parser.add_argument("--extras", default="", help="for example dev or dev,llamacpp")
    parser.add_argument("--torch-index", default=PYTORCH_CPU, help='CPU builds; "" for none')
    parser.add_argument("--torch-only", action="store_true", help="torch and nothing else")
    arguments = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - pip would only find no torch that fits
        raise SystemExit(f"Error: Python 3.11 or newer is needed, not {sys.version.split()[0]}.")
    version = pinned_torch((ROOT / "constraints.txt").read_text("utf-8"))
    install_torch(version, arguments.torch_index)
    if arguments.torch_only:
        return
    project = f".[{arguments.extras}]" if arguments.extras else "."
    pip("install", "--constraint", "constraints.txt", "--editable", project)


if __name__ == "__main__":
    main()
