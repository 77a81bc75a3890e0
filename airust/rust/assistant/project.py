"""Sources that can be checked, changed and set back, in a copy: the user's files stay as they are.

A path inside a cargo package stands for that package (or its whole workspace), any other ``.rs``
file for itself and the modules that it declares.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from airust.files import write_atomic
from airust.rust.cell import modules_of
from airust.rust.diagnostics import Diagnostic, parse_diagnostics
from airust.rust.process import run_process
from airust.rust.toolchain import find_toolchain
from airust.types import AirustError, UserError

CHECK_TIMEOUT_S = 600.0
MAX_FILES = 5_000  # a package larger than this is more likely a wrong path
_LEFT_OUT = ("target", "node_modules", "__pycache__")


class Project:
    """A copy of some Rust sources in a temporary folder; use it as a context manager."""

    def __init__(self, root: Path, names: Sequence[str], command: Sequence[str]) -> None:
        self.root = root  # where the user's files are
        self.command = tuple(command)  # the judge
        self._copy = tempfile.TemporaryDirectory(prefix="airust-fix-", ignore_cleanup_errors=True)
        self._sources = [name for name in names if name.endswith(".rs")]
        for name in names:
            target = Path(self._copy.name, "src", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
        self.original = self.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._copy.cleanup()

    @property
    def shown_command(self) -> str:
        """The judge as the user would type it."""
        return "cargo check" if "check" in self.command else f"rustc {self.command[1]}"

    def read(self) -> dict[str, str]:
        """The text of every source by its name, as rustc writes it.

        Raises:
            UserError: a file is not UTF-8.
        """
        try:
            return {name: self._file(name).read_text("utf-8") for name in self._sources}
        except UnicodeDecodeError as error:
            raise UserError(f"A source file of '{self.root}' is not UTF-8 text.") from error

    def write(self, files: Mapping[str, str]) -> None:
        """Change the copy."""
        for name, text in files.items():
            self._file(name).write_text(text, encoding="utf-8", newline="\n")

    def check(self) -> list[Diagnostic]:
        """The errors of the copy as it is.

        Raises:
            AirustError: the compiler did not come to an end, or failed without naming an error.
        """
        target = str(Path(self._copy.name, "target"))
        finished = run_process(
            self.command, cwd=Path(self._copy.name, "src"), timeout_s=CHECK_TIMEOUT_S,
            max_output_bytes=20_000_000, env={"CARGO_TARGET_DIR": target},
        )  # fmt: skip
        if finished.timed_out:
            raise AirustError(f"The compiler ran longer than {CHECK_TIMEOUT_S:g} s.")
        lines = (finished.stdout + "\n" + finished.stderr).splitlines()
        errors = [d for d in parse_diagnostics(lines) if d.is_error]
        if finished.exit_code and not errors:
            said = " ".join(line.strip() for line in finished.stderr.splitlines() if line.strip())
            raise AirustError(f"`{self.shown_command}` failed: {said[-500:]}")
        return errors

    def save(self, files: Mapping[str, str]) -> list[Path]:
        """Write changed files to the user's folder, each beside a copy NAME.orig of the old one.

        Raises:
            UserError: a file has changed there since it was read; nothing is written.
        """
        changed = [name for name, text in files.items() if text != self.original[name]]
        for name in changed:
            if (self.root / name).read_text("utf-8") != self.original[name]:
                raise UserError(f"{name} has changed since it was read; nothing was written.")
        for name in changed:
            path = self.root / name
            shutil.copy2(path, path.with_name(path.name + ".orig"))
            write_atomic(path, partial(_write_like, path, files[name]))
        return [self.root / name for name in changed]

    def _file(self, name: str) -> Path:
        return Path(self._copy.name, "src", name)


def _write_like(old: Path, text: str, new: Path) -> None:
    new.write_text(text, encoding="utf-8", newline="\n")
    shutil.copymode(old, new)


def open_project(path: Path) -> Project:
    """The project of a ``.rs`` file or of a folder with a ``Cargo.toml``.

    Raises:
        NoToolchainError: rustc, or for a package cargo, is not here.
        UserError: there are no Rust sources at the path.
    """
    if not path.exists():
        raise UserError(f"There is nothing at '{path}'.")
    path = path.resolve()
    folder = path if path.is_dir() else path.parent
    packages = [f for f in (folder, *folder.parents) if (f / "Cargo.toml").is_file()]
    if packages:
        return _cargo_project(packages[0])
    if path.is_dir() or path.suffix != ".rs":
        raise UserError(f"'{path}' is neither a Rust file nor in a cargo package.")
    toolchain = find_toolchain()
    command = [
        str(toolchain.rustc), path.name, "--edition", toolchain.edition, "--emit", "metadata",
        "-o", f"..{os.sep}checked", "--error-format", "json", "--json", "diagnostic-rendered-ansi",
    ]  # fmt: skip
    # A library has no `main`; asking rustc for one would be an error that nobody made.
    if "fn main" not in path.read_text("utf-8", errors="replace"):
        command += ["--crate-type", "lib"]
    return Project(path.parent, _with_modules(path), command)


def _with_modules(file: Path) -> list[str]:
    names, waiting = [], [(file, file.parent)]
    while waiting:
        source, below = waiting.pop()
        names.append(source.relative_to(file.parent).as_posix())
        for module in modules_of(source.read_text("utf-8", errors="replace")):
            for found in (below / f"{module}.rs", below / module / "mod.rs"):
                if found.is_file():
                    waiting.append((found, below / module))
    return names


def _cargo_project(package: Path) -> Project:
    toolchain = find_toolchain(cargo=True)
    cargo = str(toolchain.cargo)
    asked = run_process(
        [cargo, "locate-project", "--workspace", "--message-format", "plain"],
        cwd=package, timeout_s=60,
    )  # fmt: skip
    if asked.exit_code:
        raise UserError(f"cargo cannot read '{package / 'Cargo.toml'}': {asked.stderr.strip()}")
    root = Path(asked.stdout.strip()).parent
    names: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in _LEFT_OUT and not _hidden(f)]
        names += [Path(folder, file).relative_to(root).as_posix() for file in files]
        if len(names) > MAX_FILES:
            raise UserError(f"'{root}' has more than {MAX_FILES:,} files.")
    command = [cargo, "check", "--all-targets", "--quiet"]
    command += ["--message-format", "json-diagnostic-rendered-ansi"]
    return Project(root, names, command)


def _hidden(folder: str) -> bool:
    return folder.startswith(".") and folder != ".cargo"
