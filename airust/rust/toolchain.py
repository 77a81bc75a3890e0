"""Find rustc and cargo, and what they can do."""

from __future__ import annotations

import functools
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from airust.rust.process import run_process
from airust.types import UserError

INSTALL_HINT = (
    "install one with rustup (https://rustup.rs) or your system's package manager, "
    "and start this program or notebook kernel again"
)
EDITIONS = {"2015": (1, 0), "2018": (1, 31), "2021": (1, 56), "2024": (1, 85)}  # since which rustc


class NoToolchainError(UserError):
    """There is no Rust compiler on this machine."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A Rust compiler, and cargo if it is there."""

    rustc: Path
    cargo: Path | None
    version: tuple[int, int]  # (1, 95)
    full_version: str  # all of `rustc --version --verbose`: part of every cache key
    host: str  # the target it builds for, as "x86_64-unknown-linux-gnu"

    @property
    def edition(self) -> str:
        """The newest edition that this compiler has."""
        return max(name for name, since in EDITIONS.items() if since <= self.version)


def find_toolchain(*, cargo: bool = False) -> Toolchain:
    """The toolchain on the PATH, or where rustup puts it.

    Raises:
        NoToolchainError: rustc is not there, or cargo is not and was asked for.
    """
    rustc = _find("rustc")
    if rustc is None:
        raise NoToolchainError(f"There is no Rust compiler (rustc) here: {INSTALL_HINT}.")
    toolchain = _ask(rustc, _find("cargo"))
    if cargo and toolchain.cargo is None:
        raise NoToolchainError(f"There is rustc here but no cargo: {INSTALL_HINT}.")
    return toolchain


def _find(program: str) -> Path | None:
    # JupyterLab that was started from a menu does not know what the shell's profile adds.
    found = shutil.which(program) or shutil.which(program, path=Path.home() / ".cargo" / "bin")
    return Path(found) if found else None


@functools.cache
def _ask(rustc: Path, cargo: Path | None) -> Toolchain:
    asked = run_process([str(rustc), "--version", "--verbose"], timeout_s=60)
    version = re.search(r"^rustc (\d+)\.(\d+)", asked.stdout)
    host = re.search(r"^host: (\S+)$", asked.stdout, flags=re.MULTILINE)
    if asked.exit_code or version is None or host is None:
        said = (asked.stderr or asked.stdout).strip().splitlines()
        reason = said[0] if said else "it says nothing"
        raise NoToolchainError(f"The Rust compiler '{rustc}' does not work: {reason}")
    numbers = int(version[1]), int(version[2])
    return Toolchain(rustc, cargo, numbers, asked.stdout, host[1])
