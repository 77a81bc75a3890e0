"""Rust in Python and in notebooks: compile, run, judge, and repair.

``%load_ext airust.rust`` gives a notebook the cell magic ``%%rust``; ``%%rust --help`` explains it.
Without IPython:

    from airust.rust import Options, compile, run

    build = compile('let s = String::new(); let t = s; println!("{s}");')
    build.codes                          # ("E0382",)
    build.errors[0].spans[0].line        # where; build.errors[0].text is what rustc prints
    run('println!("{}", 6 * 7);').stdout # "42\\n"
    run(source, Options(release=True, deps={"rayon": "1"}), args=["8"], timeout_s=20)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airust.rust.build import Build, CompileError, Options, RunError, RustError, compile, run
from airust.rust.diagnostics import Diagnostic, Span
from airust.rust.process import Finished
from airust.rust.toolchain import NoToolchainError, Toolchain, find_toolchain

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "Build",
    "CompileError",
    "Diagnostic",
    "Finished",
    "NoToolchainError",
    "Options",
    "RunError",
    "RustError",
    "Span",
    "Toolchain",
    "compile",
    "find_toolchain",
    "load_ipython_extension",
    "run",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%load_ext airust.rust`` calls."""
    from airust.rust.magic import RustMagics

    shell.register_magics(RustMagics)
