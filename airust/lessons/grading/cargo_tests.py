"""Build a cargo package once, then run each of its tests in a process of its own.

A test that hangs, overflows its stack or aborts thus costs its own points and no others. Crates are
built in a folder of the cache that all assignments share, so that they are built once and grading
leaves nothing behind in the learner's folder but Cargo.lock.

The package itself is built anew each time: two copies of it, say of two students, are one and the
same for cargo, which only compares the times of files.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from airust.lessons.grading.assignment import Tests
from airust.rust.cache import cache_folder
from airust.rust.diagnostics import Diagnostic, parse_diagnostics
from airust.rust.process import Finished, Stream, run_process
from airust.rust.toolchain import find_toolchain
from airust.types import UserError

BUILD_TIMEOUT_S = 1800.0  # crates that are built for the first time take minutes
BUILD_OUTPUT_BYTES = 50_000_000
_PANIC = re.compile(r"^thread .*? panicked at (?:.*?):\n(.*?)(?=^note: |^\n|\Z)", re.M | re.S)
_SIDES = re.compile(r"\n\s*(left|right): ")


@dataclass(frozen=True, slots=True)
class Package:
    """What cargo made of a package."""

    tests: Path | None  # the executable of tests/grade.rs; None where the compiler refuses
    program: Path | None  # that of src/main.rs, if there is one
    errors: tuple[Diagnostic, ...] = ()


def build(
    folder: Path, out: Path, *, release: bool, on_line: Callable[[str], None] | None = None
) -> Package:
    """Build a package and its tests, and put the executables into ``out``.

    ``on_line`` is told what cargo does ("Compiling rand v0.9.2").

    Raises:
        NoToolchainError: there is no cargo.
        UserError: cargo did not come as far as the compiler.
    """
    cargo = str(find_toolchain(cargo=True).cargo)
    profile = ["--release"] if release else []
    env = {
        "CARGO_TARGET_DIR": str(cache_folder("grades")),
        "CARGO_TERM_PROGRESS_WHEN": "never",
        "CARGO_TERM_COLOR": "never",
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_DEV_DEBUG": "false",  # panics name their lines without it
    }
    command = [cargo, "test", "--test", "grade", "--no-run", *profile]
    command += ["--message-format", "json-diagnostic-rendered-ansi"]
    with FileLock(cache_folder("locks") / "grades.lock"):
        clean = [cargo, "clean", "--package", _package_name(folder), *profile]
        run_process(clean, cwd=folder, env=env, timeout_s=BUILD_TIMEOUT_S)
        done = run_process(
            command, cwd=folder, env=env, timeout_s=BUILD_TIMEOUT_S,
            max_output_bytes=BUILD_OUTPUT_BYTES,
            on_text=_line_reader(on_line) if on_line else None,
        )  # fmt: skip
        built = {kind: Path(shutil.copy2(path, out)) for kind, path in _executables(done.stdout)}
    if done.timed_out or done.truncated:
        raise UserError(f"cargo was stopped: it ran longer than {BUILD_TIMEOUT_S:g} s.")
    errors = tuple(d for d in parse_diagnostics(done.stdout.splitlines()) if d.is_error)
    if done.exit_code and not errors:
        said = " ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
        raise UserError(f"cargo cannot build '{folder}': {said[-600:]}")
    if done.exit_code:
        return Package(None, None, errors)
    return Package(built.get("test"), built.get("bin"))


def _package_name(folder: Path) -> str:
    try:
        manifest = tomllib.loads((folder / "Cargo.toml").read_text("utf-8"))
        return str(manifest["package"]["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"cargo cannot build '{folder}': its Cargo.toml names no package."
        ) from error


def run_test(package: Package, name: str, tests: Tests, folder: Path) -> str:
    """Why a test fails; empty where it passes."""
    assert package.tests is not None
    done = run_process(
        [str(package.tests), "--exact", name, "--test-threads", "1"],
        cwd=folder, env={"RUST_BACKTRACE": "0"}, timeout_s=tests.timeout_s,
    )  # fmt: skip
    if done.exit_code == 0 and not done.truncated and not done.timed_out:
        # libtest is content with no test at all
        return "" if " 1 passed" in done.stdout else f"tests/grade.rs has no test {name}"
    return _reason(done, tests.timeout_s)


def _reason(done: Finished, timeout_s: float) -> str:
    if done.timed_out:
        return (
            f"stopped after {timeout_s:g} s: an endless loop, or threads that wait for each other"
        )
    if done.truncated:
        return "stopped: it printed too much"
    if found := _PANIC.search(done.stdout + "\n" + done.stderr):
        return _one_line(found[1])
    if "overflowed its stack" in done.stderr:
        return "the stack overflowed: a recursion has no end"
    return f"ended by signal {-done.exit_code}" if done.exit_code < 0 else "failed"


def _one_line(message: str) -> str:
    """A panic's message; what `assert_eq!` adds goes behind it in brackets.

    >>> _one_line("assertion `left == right` failed: two words\\n  left: 1\\n right: 2\\n")
    'two words (yours: 1, expected: 2)'
    >>> _one_line("not yet implemented\\n")
    'not yet implemented'
    """
    head, *sides = _SIDES.split(message.strip("\n"))
    said = re.sub(r"^assertion.*? failed(: )?", "", head).strip()
    values = [" ".join(value.split()) for value in sides[1::2]]
    if len(values) == 2 and all(len(value) <= 120 for value in values):
        both = f"yours: {values[0]}, expected: {values[1]}"
        return f"{said} ({both})" if said else both
    return " ".join((said or head).split())


def _executables(stdout: str) -> Iterator[tuple[str, Path]]:
    for line in stdout.splitlines():
        if '"executable":"' in line:
            artifact = json.loads(line)
            yield artifact["target"]["kind"][0], Path(artifact["executable"])


def _line_reader(on_line: Callable[[str], None]) -> Callable[[Stream, str], None]:
    def read(stream: Stream, text: str) -> None:
        lines = [line for line in text.splitlines() if line.strip()]
        if stream == "stderr" and lines:
            on_line(lines[-1].strip())

    return read
