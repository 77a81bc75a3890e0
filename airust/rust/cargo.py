"""Build a program that needs crates: a small cargo project for every set of crates.

Crates are compiled once for each set, profile and compiler; then only the cell is. cargo asks the
registry that the user has set up; ``CARGO_NET_OFFLINE=true`` keeps it to crates already fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from airust.rust.cache import cache_folder, prune, touch
from airust.rust.process import Finished, Stream, run_process
from airust.rust.toolchain import Toolchain
from airust.types import UserError

KEPT_PROJECTS = 20
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def build_with_cargo(
    toolchain: Toolchain,
    sources: Path,
    edition: str,
    deps: Mapping[str, str],
    mode: str,
    *,
    timeout_s: float,
    on_line: Callable[[str], None] | None = None,
) -> tuple[Finished, Path]:
    """Build the ``*.rs`` files of a folder; the executable is put beside them.

    ``mode`` is program, test or library, with " release" where it is optimised.

    Raises:
        UserError: a crate, version or feature that cannot be had.
    """
    kind, _, profile = mode.partition(" ")
    manifest = _manifest(edition, deps, library=kind == "library")
    digest = hashlib.sha256((toolchain.full_version + manifest).encode()).hexdigest()[:16]
    projects = cache_folder("crates")
    project = projects / digest
    with FileLock(cache_folder("locks") / f"{digest}.lock"):
        project.mkdir(exist_ok=True)
        touch(project)
        for old in project.glob("*.rs"):
            old.unlink()
        for source in sources.glob("*.rs"):
            shutil.copyfile(source, project / source.name)
        if _read(project / "Cargo.toml") != manifest:
            (project / "Cargo.toml").write_text(manifest, encoding="utf-8", newline="\n")
        command = [str(toolchain.cargo), *_command(kind), "--color", "always"]
        command += ["--message-format", "json-diagnostic-rendered-ansi"]
        command += ["--release"] if profile else []
        # A target folder of the user's own is not for our cells.
        env = {"CARGO_TARGET_DIR": str(project / "target"), "CARGO_TERM_PROGRESS_WHEN": "never"}
        finished = run_process(
            command, cwd=project, env=env, timeout_s=timeout_s,
            on_text=_line_reader(on_line) if on_line else None,
        )  # fmt: skip
        if finished.exit_code and '"reason":"compiler-message"' not in finished.stdout:
            _explain(finished)
        executable = sources / ("cell.exe" if os.name == "nt" else "cell")
        built = re.findall(r'"executable":"((?:[^"\\]|\\.)*)"', finished.stdout)
        if finished.exit_code == 0 and built:
            shutil.copy2(built[-1].replace("\\\\", "\\"), executable)
    prune(projects, KEPT_PROJECTS)
    return finished, executable


def parse_dependency(text: str) -> tuple[str, str]:
    """NAME, NAME=VERSION or NAME={inline TOML}.

    >>> parse_dependency("serde=1"), parse_dependency("rand")
    (('serde', '1'), ('rand', '*'))
    >>> parse_dependency('serde={version="1", features=["derive"]}')[1]
    '{version="1", features=["derive"]}'

    Raises:
        UserError: there is no name.
    """
    name, _, version = text.partition("=")
    if not re.fullmatch(r"[A-Za-z][\w-]*", name.strip()):
        raise UserError(f"--dep {text!r} is not NAME, NAME=VERSION or NAME={{...}}.")
    return name.strip(), version.strip() or "*"


def _manifest(edition: str, deps: Mapping[str, str], *, library: bool) -> str:
    target = "[lib]" if library else "[[bin]]"
    lines = [
        "[package]", 'name = "cell"', 'version = "0.0.0"', f'edition = "{edition}"', "",
        target, 'name = "cell"', 'path = "cell.rs"', "", "[dependencies]",
    ]  # fmt: skip
    for name, version in sorted(deps.items()):
        value = version if version.startswith("{") else f'"{version}"'
        lines.append(f"{name} = {value}")
    # A project inside somebody's workspace would be taken for a member of it.
    return "\n".join([*lines, "", "[workspace]", ""])


def _command(kind: str) -> list[str]:
    if kind == "test":
        return ["test", "--no-run", "--bins"]
    return ["check"] if kind == "library" else ["build"]


def _line_reader(on_line: Callable[[str], None]) -> Callable[[Stream, str], None]:
    def read(stream: Stream, text: str) -> None:
        lines = [line for line in _ANSI.sub("", text).splitlines() if line.strip()]
        if stream == "stderr" and lines:
            on_line(lines[-1].strip())

    return read


def _explain(finished: Finished) -> None:
    """Say why cargo did not come as far as the compiler."""
    if finished.timed_out or finished.truncated:
        return
    said = [line.strip() for line in _ANSI.sub("", finished.stderr).splitlines()]
    lines = [line for line in said if line and not line.startswith(("Updating", "Blocking"))]
    raise UserError("cargo could not get the crates: " + " ".join(lines[:8]))


def _read(file: Path) -> str | None:
    return file.read_text("utf-8") if file.exists() else None
