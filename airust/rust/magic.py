"""The cell magic ``%%rust``: compile and run a cell.

    %load_ext airust.rust

    %%rust --expect-error E0382
    let a = String::from("one owner");
    let b = a;
    println!("{a} {b}");

Errors and warnings are shown as rustc prints them, with the line numbers that JupyterLab shows
(the ``%%rust`` line is line 1). A cell that fails raises, so that a notebook that a program runs
stops there.
"""

from __future__ import annotations

import argparse
import functools
import re
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from IPython.core.magic import Magics, cell_magic, magics_class
from IPython.display import DisplayHandle, clear_output, display

from airust.rust.build import (
    COMPILE_TIMEOUT_S,
    RUN_TIMEOUT_S,
    Build,
    CompileError,
    Options,
    RunError,
    RustError,
    compile,
    execute,
)
from airust.rust.cargo import parse_dependency
from airust.rust.cell import modules_of
from airust.rust.process import MAX_OUTPUT_BYTES, Stream
from airust.types import AirustError

if TYPE_CHECKING:
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

_GREEN, _PLAIN = "\x1b[32m", "\x1b[0m"


class RustCellError(RustError):
    """A cell did not do what it should."""


@dataclass(frozen=True, slots=True)
class _Module:
    """A cell that was kept by name."""

    source: str
    deps: dict[str, str]


class _Parser(argparse.ArgumentParser):
    """Mistakes end the cell, not the kernel."""

    def error(self, message: str) -> NoReturn:
        raise RustCellError(f"{message}; `%%rust --help` lists the options.")


@functools.cache
def _parser() -> _Parser:
    parser = _Parser("%%rust", description="Compile and run a cell of Rust.", add_help=False)
    add = parser.add_argument
    add("--help", action="store_true", help="show this list")
    add("--name", help="keep the cell as a module: a later cell says `mod NAME;`")
    add("--dep", action="append", default=[], help="a crate: NAME, NAME=VERSION or NAME={TOML}")
    add("--edition", help="2015, 2018, 2021 or 2024; the newest if not given")
    add("--release", action="store_true", help="optimise")
    add("--test", action="store_true", help="run the cell's #[test] functions")
    add("--check", action="store_true", help="compile only")
    add(
        "--expect-error", action="append", default=[], metavar="CODE",
        help="the compiler must refuse the cell with this code and no other",
    )  # fmt: skip
    add(
        "--expect-exit", type=int, default=0, metavar="N",
        help="the program must end with this exit code; a panic is 101",
    )  # fmt: skip
    add("--args", default="", help='what the program is given: --args "8 --fast"')
    add("--stdin", default="", metavar="TEXT", help="its standard input; {name} is replaced")
    add("--into", metavar="NAME", help="put the result into a Python variable, print nothing")
    add(
        "--timeout", type=float, default=RUN_TIMEOUT_S, metavar="S",
        help="seconds that the program may run",
    )  # fmt: skip
    add(
        "--compile-timeout", type=float, default=COMPILE_TIMEOUT_S, metavar="S",
        help="seconds that the compiler may take",
    )  # fmt: skip
    add(
        "--max-output", type=int, default=MAX_OUTPUT_BYTES, metavar="BYTES",
        help="how much it may print",
    )  # fmt: skip
    return parser


@magics_class
class RustMagics(Magics):
    """``%%rust``, and the cells that were kept by name."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._modules: dict[str, _Module] = {}

    @cell_magic
    def rust(self, line: str, cell: str) -> None:
        """Compile and run a cell of Rust; loose statements get a `fn main` around them.

        `%%rust --help` lists the options.
        """
        try:
            args = _parser().parse_args(shlex.split(line))
            if args.help:
                print(_parser().format_help())
            else:
                self._run(args, cell)
        except RustError:
            raise
        except AirustError as error:
            raise RustCellError(str(error)) from error
        except ValueError as error:
            raise RustCellError(
                f"The line {line!r} cannot be split into words: {error}."
            ) from error

    def _run(self, args: argparse.Namespace, cell: str) -> None:
        # Line 1 is the magic's own line, so that numbers are those that JupyterLab shows.
        source = f"\n{cell}"
        build = self._keep(args, source) if args.name else self._compile(args, source)
        if not args.into:
            _show_messages(build)
        if args.expect_error:
            _check_refusal(build, args.expect_error)
        elif not build.ok:
            raise CompileError(_refusal(build), build.diagnostics)
        elif args.name:
            print(f"Kept as a module: a later cell says `mod {args.name};`.")
        elif build.executable is not None and not args.check:
            self._execute(args, build.executable)

    def _keep(self, args: argparse.Namespace, source: str) -> Build:
        """Compile a cell as a module beside those that it names as `crate::...`."""
        # Not every program uses all of a module.
        module = _Module(f"#![allow(dead_code)]{source}", dict(map(parse_dependency, args.dep)))
        beside, waiting = {args.name: module}, [source]
        while waiting:
            text = waiting.pop()
            # Also those inside braces: use crate::{one::f, two::g};
            words = set(re.findall(r"\w+", text)) if "crate::" in text else set[str]()
            for name in sorted(words & self._modules.keys() - beside.keys()):
                beside[name] = self._modules[name]
                waiting.append(beside[name].source)
        root = "".join(f"pub mod {name};\n" for name in beside)
        build = self._compile(args, root, beside)
        if build.ok and not args.expect_error:
            self._modules[args.name] = module
        return build

    def _compile(
        self, args: argparse.Namespace, source: str, modules: dict[str, _Module] | None = None
    ) -> Build:
        known = modules or self._modules
        deps: dict[str, str] = {}
        for name in modules_of(source):
            deps |= known[name].deps if name in known else {}
        options = Options(
            edition=args.edition,
            release=args.release,
            test=args.test,
            library=bool(args.name),
            deps=deps | dict(map(parse_dependency, args.dep)),
            modules={name: module.source for name, module in known.items()},
            timeout_s=args.compile_timeout,
        )
        progress = _Progress()
        try:
            return compile(source, options, progress.show)
        finally:
            progress.clear()

    def _execute(self, args: argparse.Namespace, executable: Path) -> None:
        finished = execute(
            executable,
            args=shlex.split(args.args),
            stdin=args.stdin,
            timeout_s=args.timeout,
            max_output_bytes=args.max_output,
            on_text=None if args.into else _print,
        )
        if args.into and self.shell is not None:
            self.shell.push({args.into: finished})
        if finished.exit_code != args.expect_exit:
            raise RunError(_ending(finished.exit_code, args.expect_exit))


class _Progress:
    """One line that says what cargo builds, gone when it is done."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None

    def show(self, line: str) -> None:
        content = {"text/plain": line}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def clear(self) -> None:
        if self._handle is not None:
            clear_output()  # the cell has shown nothing else so far


def _print(stream: Stream, text: str) -> None:
    out = sys.stdout if stream == "stdout" else sys.stderr
    out.write(text)
    out.flush()


def _show_messages(build: Build) -> None:
    for diagnostic in build.diagnostics:
        print(diagnostic.rendered.rstrip("\n") + "\n")


def _check_refusal(build: Build, expected: list[str]) -> None:
    wanted = " and ".join(expected)
    if build.ok:
        raise RustCellError(
            f"The compiler accepts this cell, but it should refuse it with {wanted}."
        )
    if set(build.codes) != set(expected) or not all(d.code for d in build.errors):
        raise RustCellError(f"The cell should be refused with {wanted}. {_refusal(build)}")
    print(f"{_GREEN}Refused with {wanted}, as expected.{_PLAIN}")


def _refusal(build: Build) -> str:
    codes = f" ({', '.join(build.codes)})" if build.codes else ""
    count = len(build.errors)
    advice = f" `rustc --explain {build.codes[0]}` tells more." if build.codes else ""
    return f"The compiler refuses the cell: {count} error{'s' * (count > 1)}{codes}.{advice}"


def _ending(exit_code: int, expected: int) -> str:
    how = f"signal {-exit_code} ended it" if exit_code < 0 else f"its exit code is {exit_code}"
    what = " (a panic)" if exit_code == 101 else ""
    wanted = f" and should be {expected}" if expected else ""
    return f"The program failed: {how}{what}{wanted}."
