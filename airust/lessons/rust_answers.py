"""Answers that are Rust: the compiler and small tests judge them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from airust.lessons.checker import Wrong, require
from airust.rust import Build, Options, compile
from airust.rust.build import execute

TIMEOUT_S = 20.0


def passes_tests(
    answer: object, tests: str, hint: str, *, deps: Mapping[str, str] | None = None
) -> None:
    """The answer, a text of Rust, compiles and its hidden ``#[test]`` functions pass.

    Raises:
        Wrong: it does not; a refusal says the first error, a failed test gives ``hint``.
    """
    build = _compiled(answer, f"{answer}\n{tests}", Options(test=True, deps=deps or {}))
    if build.executable is not None:
        done = execute(build.executable, timeout_s=TIMEOUT_S)
        require(done.exit_code == 0, hint)


def prints(answer: object, expected: str, hint: str) -> None:
    """The answer, statements or a program, prints the expected text.

    Raises:
        Wrong: it does not.
    """
    build = _compiled(answer, str(answer), Options())
    if build.executable is not None:
        done = execute(build.executable, timeout_s=TIMEOUT_S)
        require(done.exit_code == 0, f"Your program ends with exit code {done.exit_code}. {hint}")
        require(done.stdout.split() == expected.split(), hint)


def is_refused(answer: object, code: str, hint: str) -> None:
    """The compiler refuses the answer with this code and no other.

    Raises:
        Wrong: it accepts it, or has another reason.
    """
    require(isinstance(answer, str), "Write your Rust as a text between ''' and '''.")
    build = compile(str(answer))
    require(not build.ok, f"The compiler accepts your program. {hint}")
    found = ", ".join(build.codes) or "a mistake in the grammar"
    require(build.codes == (code,), f"The compiler refuses it, but with {found}. {hint}")


def without(answer: object, *words: str) -> None:
    """The answer does not use what the exercise forbids; comments do not count.

    Raises:
        Wrong: it does.
    """
    code = re.sub(r"//[^\n]*", "", str(answer))
    for word in words:
        require(word not in code, f"Try it without `{word}`.")


def _compiled(answer: object, source: str, options: Options) -> Build:
    require(isinstance(answer, str), "Write your Rust as a text between ''' and '''.")
    build = compile(source, options)
    if not build.ok:
        first = build.errors[0]
        line = next((span.line for span in first.spans if span.primary), None)
        where = f", line {line}" if line else ""
        number = f" {first.code}" if first.code else ""
        raise Wrong(f"The compiler refuses it{where}:{number} {first.message}.")
    return build
