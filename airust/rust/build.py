"""Compile a Rust program with rustc, or with cargo where it needs crates, and run it.

>>> from airust.rust import compile, run
>>> build = compile('fn main() { let n: u8 = "7"; }')                              # doctest: +SKIP
>>> [error.code for error in build.errors]                                         # doctest: +SKIP
['E0308']
>>> run('println!("{}", 6 * 7);').stdout                                           # doctest: +SKIP
'42\\n'
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airust.rust.cache import cache_folder, prune, touch
from airust.rust.cargo import build_with_cargo
from airust.rust.cell import modules_of, whole_program
from airust.rust.diagnostics import Diagnostic, parse_diagnostics
from airust.rust.process import MAX_OUTPUT_BYTES, Finished, OnText, run_process
from airust.rust.toolchain import EDITIONS, Toolchain, find_toolchain
from airust.types import AirustError, UserError

SOURCE = "cell.rs"  # the name that errors show
COMPILE_TIMEOUT_S = 600.0
RUN_TIMEOUT_S = 60.0
_NAME = re.compile(r"[A-Za-z_]\w*")

OnLine = Callable[[str], None]


class RustError(AirustError):
    """Something in the Rust of a cell is not as it should be. In a notebook: one line, no trace."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines in the place of a trace through our own code."""
        return [f"{type(self).__name__}: {self}"]


class CompileError(RustError):
    """The program was not accepted; ``diagnostics`` say why."""

    def __init__(self, sentence: str, diagnostics: Sequence[Diagnostic] = ()) -> None:
        super().__init__(sentence)
        self.diagnostics = tuple(diagnostics)


class RunError(RustError):
    """The program ran longer or printed more than it may, or failed."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile."""

    edition: str | None = None  # None: the newest that the compiler has
    release: bool = False  # optimised
    test: bool = False  # the #[test] functions instead of main
    library: bool = False  # no main: something for other programs to use
    deps: Mapping[str, str] = field(default_factory=dict)  # crate: version, or inline TOML
    modules: Mapping[str, str] = field(default_factory=dict)  # sources of `mod NAME;`
    timeout_s: float = COMPILE_TIMEOUT_S

    def __post_init__(self) -> None:
        if self.edition is not None and self.edition not in EDITIONS:
            raise UserError(f"There is no edition {self.edition}; they are: {', '.join(EDITIONS)}.")
        if self.test and self.library:
            raise UserError("A program is built for its tests or as a library, not both.")
        for name in (*self.modules, *(crate.replace("-", "_") for crate in self.deps)):
            if not _NAME.fullmatch(name):
                raise UserError(f"{name!r} is not a name that Rust allows.")


@dataclass(frozen=True, slots=True)
class Build:
    """What became of a program."""

    diagnostics: tuple[Diagnostic, ...]  # errors and warnings, in rustc's order
    executable: Path | None  # None where it was refused, and for a library
    ok: bool
    source: str  # what was compiled, with the `main` around loose statements

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Why it was refused."""
        return tuple(d for d in self.diagnostics if d.is_error)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What the compiler advises against."""
        return tuple(d for d in self.diagnostics if d.level == "warning")

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the errors, in order, each once: ("E0382",)."""
        return tuple(dict.fromkeys(d.code for d in self.errors if d.code))


def compile(source: str, options: Options | None = None, on_line: OnLine | None = None) -> Build:
    """Compile a program or loose statements; a refused one is a result, not an exception.

    ``on_line`` is told what cargo does ("Compiling serde v1.0.2"), for builds that take long.

    Raises:
        NoToolchainError: rustc is not here, or cargo and crates were asked for.
        UserError: an edition that this compiler does not have, a crate that cannot be had.
        CompileError: the compiler ran longer than the timeout, or broke down.
    """
    options = options or Options()
    toolchain = find_toolchain(cargo=bool(options.deps))
    edition = options.edition or toolchain.edition
    if EDITIONS[edition] > toolchain.version:
        major, minor = EDITIONS[edition]
        raise UserError(f"Edition {edition} needs rustc {major}.{minor} or newer.")
    program = source if options.test or options.library else whole_program(source)
    wanted = _needed_modules(program, options.modules)
    key = _key(toolchain.full_version, edition, program, wanted, options)
    cells = cache_folder("builds")
    kept = cells / key
    if (build := _load(kept, program)) is not None:
        touch(kept)
        return build
    with tempfile.TemporaryDirectory(dir=cache_folder("work"), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for module, text in wanted.items():
            (folder / f"{module}.rs").write_text(text, encoding="utf-8", newline="\n")
        (folder / SOURCE).write_text(program, encoding="utf-8", newline="\n")
        if options.deps:
            finished, executable = build_with_cargo(
                toolchain, folder, edition, options.deps, _cargo_mode(options),
                timeout_s=options.timeout_s, on_line=on_line,
            )  # fmt: skip
        else:
            finished, executable = _rustc(toolchain, folder, edition, options)
        build = _judge(finished, executable, program, options)
        _keep(build, kept)
    prune(cells)
    return _load(kept, program) or build


def run(
    source: str,
    options: Options | None = None,
    *,
    args: Sequence[str] = (),
    stdin: str = "",
    timeout_s: float = RUN_TIMEOUT_S,
    max_output_bytes: int = MAX_OUTPUT_BYTES,
    on_text: OnText | None = None,
) -> Finished:
    """Compile and run a program; its exit code is part of the result.

    Raises:
        CompileError: it was refused; the message holds what rustc printed.
        RunError: it ran longer than ``timeout_s`` or printed more than ``max_output_bytes``.
        UserError: as ``compile``.
    """
    build = compile(source, options)
    if build.executable is None:
        printed = "\n".join(d.text.rstrip() for d in build.errors)
        raise CompileError(f"The program was refused:\n{printed}", build.diagnostics)
    return execute(
        build.executable, args=args, stdin=stdin, timeout_s=timeout_s,
        max_output_bytes=max_output_bytes, on_text=on_text,
    )  # fmt: skip


def execute(
    executable: Path,
    *,
    args: Sequence[str] = (),
    stdin: str = "",
    timeout_s: float = RUN_TIMEOUT_S,
    max_output_bytes: int = MAX_OUTPUT_BYTES,
    on_text: OnText | None = None,
) -> Finished:
    """Run a compiled program in the current folder.

    Raises:
        RunError: it ran longer than ``timeout_s`` or printed more than ``max_output_bytes``.
    """
    finished = run_process(
        [str(executable), *args], stdin=stdin, timeout_s=timeout_s,
        max_output_bytes=max_output_bytes, on_text=on_text,
    )  # fmt: skip
    if finished.timed_out:
        raise RunError(f"The program was stopped: it ran longer than {timeout_s:g} s.")
    if finished.truncated:
        raise RunError(f"The program was stopped: it printed more than {max_output_bytes:,} bytes.")
    return finished


def _needed_modules(program: str, known: Mapping[str, str]) -> dict[str, str]:
    """The modules that a program declares, and those that they declare."""
    found: dict[str, str] = {}
    waiting = modules_of(program)
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found[name] = known[name]
            waiting += modules_of(known[name])
    return found


def _key(
    compiler: str, edition: str, program: str, modules: Mapping[str, str], options: Options
) -> str:
    parts = (
        compiler, edition, program, sorted(modules.items()), options.release, options.test,
        options.library, sorted(options.deps.items()),
        # cargo and rustc read flags from here
        os.environ.get("RUSTFLAGS", ""),
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _cargo_mode(options: Options) -> str:
    kind = "test" if options.test else "library" if options.library else "program"
    return f"{kind} release" if options.release else kind


def _rustc(
    toolchain: Toolchain, folder: Path, edition: str, options: Options
) -> tuple[Finished, Path]:
    executable = folder / ("cell.exe" if os.name == "nt" else "cell")
    command = [
        str(toolchain.rustc), SOURCE, "--crate-name", "cell", "--edition", edition,
        "--error-format", "json", "--json", "diagnostic-rendered-ansi",
    ]  # fmt: skip
    command += ["-C", "opt-level=3"] if options.release else []
    command += os.environ.get("RUSTFLAGS", "").split()
    if options.library:
        command += ["--crate-type", "lib", "--emit", "metadata"]
    else:
        command += ["-o", executable.name, *(["--test"] if options.test else [])]
    return run_process(command, cwd=folder, timeout_s=options.timeout_s), executable


def _judge(finished: Finished, executable: Path, program: str, options: Options) -> Build:
    """What the compiler's end means."""
    if finished.timed_out or finished.truncated:
        reason = (
            f"ran longer than {options.timeout_s:g} s" if finished.timed_out else "said too much"
        )
        raise CompileError(f"The compiler was stopped: it {reason}.")
    lines = (finished.stdout + "\n" + finished.stderr).splitlines()
    found = tuple(parse_diagnostics(lines))
    ok = finished.exit_code == 0
    if not ok and not any(d.is_error for d in found):
        said = "\n".join(line for line in lines if line.strip() and not line.startswith("{"))
        raise CompileError(f"The compiler failed:\n{said.strip()}", found)
    return Build(found, executable if ok and not options.library else None, ok, program)


def _keep(build: Build, folder: Path) -> None:
    """Move a build into the cache in one step, so that no other kernel sees half of it."""
    with tempfile.TemporaryDirectory(dir=cache_folder("work"), ignore_cleanup_errors=True) as name:
        new = Path(name) / "build"
        new.mkdir()
        if build.executable is not None:
            shutil.copy2(build.executable, new / build.executable.name)
        record = {
            "ok": build.ok,
            "executable": build.executable.name if build.executable else None,
            "messages": [_to_json(d) for d in build.diagnostics],
        }
        (new / "build.json").write_text(json.dumps(record), encoding="utf-8")
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # else another kernel was faster with the same
                raise


def _to_json(diagnostic: Diagnostic) -> dict[str, object]:
    """In rustc's own form, as ``parse_diagnostics`` reads it."""
    return {
        "message": diagnostic.message,
        "code": {"code": diagnostic.code} if diagnostic.code else None,
        "level": diagnostic.level,
        "spans": [
            {
                "file_name": span.file, "line_start": span.line, "column_start": span.column,
                "line_end": span.end_line, "column_end": span.end_column,
                "is_primary": span.primary, "label": span.label,
            }
            for span in diagnostic.spans
        ],
        "children": [_to_json(child) for child in diagnostic.children],
        "rendered": diagnostic.rendered,
    }  # fmt: skip


def _load(folder: Path, program: str) -> Build | None:
    try:
        record = json.loads((folder / "build.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    found = parse_diagnostics(json.dumps(message) for message in record["messages"])
    executable = folder / record["executable"] if record["executable"] else None
    if executable is not None and not executable.exists():
        return None
    return Build(tuple(found), executable, record["ok"], program)
