"""From a notebook cell to a whole program: loose statements get a ``fn main`` around them.

Rust has no statements outside functions. A cell may have them: all from the first loose statement
on goes into ``fn main``; items before it (``use``, ``struct``, ``fn``, ``mod`` ...) stay where they
are. Lines keep their numbers, so that an error points at the line of the cell. Statements that end
in ``Ok(())`` may use ``?``.

>>> print(whole_program("use std::mem::size_of;\\nprintln!(\\"{}\\", size_of::<u8>());"), end="")
use std::mem::size_of; fn main() {
println!("{}", size_of::<u8>());
}
"""

from __future__ import annotations

import re

_PLAIN_HEAD = "fn main() {"
_FALLIBLE_HEAD = "fn main() -> Result<(), Box<dyn std::error::Error>> {"

_BLANK = re.compile(r"\s+")
_LINE_COMMENT = re.compile(r"//[^\n]*")
_STRING = re.compile(r'[bc]?"(?:[^"\\]|\\.)*"', flags=re.DOTALL)
_RAW_STRING = re.compile(r'[bc]?r(#*)".*?"\1', flags=re.DOTALL)
_CHARACTER = re.compile(r"b?'(?:[^'\\\n]|\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.))'")
_WORD = re.compile(r"(?:r#)?\w+|'\w+")
_ITEM = re.compile(
    r"""(?:pub\s*(?:\([^)]*\)\s*)?)?
    (?:(?P<to_semicolon>use|static|type|extern\s+crate|const(?!\s*(?:\{|fn\b|unsafe\b|extern\b)))\b
    |(?:default\s+|const\s+|async\s+|unsafe\s+|safe\s+|extern\s*(?:"[^"]*"\s*)?)*
     (?:fn|struct|enum|impl|trait|mod|union(?=\s+\w+\s*[{<]))\b
    |(?:unsafe\s+)?extern\s*(?:"[^"]*"\s*)?\{
    |macro_rules\s*!)""",
    flags=re.VERBOSE,
)
_MAIN = re.compile(r"(?:pub\s+)?(?:async\s+)?fn\s+main\b")


def whole_program(cell: str) -> str:
    """The cell as a program with a ``main``."""
    start, has_main = _first_statement(cell)
    if has_main:
        return cell
    if start is None:
        return f"{cell.rstrip()}\n\nfn main() {{}}\n"
    head = _FALLIBLE_HEAD if re.search(r"\bOk\(\(\)\)\s*$", cell) else _PLAIN_HEAD
    before, after = cell[:start], cell[start:]
    # At the end of the line above, where it moves nothing; or else before the statement itself.
    above, newline, indent = before.rpartition("\n")
    last_line = above.rpartition("\n")[2]
    if newline and not indent.strip() and "//" not in last_line:
        spaced = f"{above} {head}" if last_line.strip() else f"{above}{head}"
        before = f"{spaced}\n{indent}"
    else:
        before = f"{before}{head} "
    return f"{before}{after.rstrip()}\n}}\n"


def modules_of(program: str) -> list[str]:
    """The names of ``mod NAME;``: modules that live in files of their own."""
    return re.findall(r"^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", program, flags=re.MULTILINE)


def _first_statement(cell: str) -> tuple[int | None, bool]:
    """Where the first loose statement begins, and whether the items before it define ``main``."""
    at = 0
    while (at := _skip_space(cell, at)) < len(cell):
        item_at = _skip_attributes(cell, at)
        found = _ITEM.match(cell, item_at)
        if found is None:
            return (None, False) if item_at >= len(cell) else (at, False)
        if _MAIN.match(cell, item_at):
            return None, True
        at = _item_end(cell, item_at, to_semicolon=found["to_semicolon"] is not None)
    return None, False


def _skip_attributes(cell: str, at: int) -> int:
    """Behind ``#[...]``, ``#![...]`` and what is blank between them."""
    while opening := re.compile(r"#!?\s*\[").match(cell, at):
        at = _skip_space(cell, _group_end(cell, opening.end() - 1))
    return at


def _item_end(cell: str, at: int, *, to_semicolon: bool) -> int:
    """Behind the item: its ``;``, or the brace that closes its body."""
    while at < len(cell):
        if cell[at] == ";":
            return at + 1
        if cell[at] in "([{":
            body = cell[at] == "{"
            at = _group_end(cell, at)
            if body and not to_semicolon:
                return at
        else:
            at = _next(cell, at)
    return at


def _group_end(cell: str, at: int) -> int:
    """Behind the bracket that closes the one at ``at``; the end of the cell if none does."""
    depth = 0
    while at < len(cell):
        depth += (cell[at] in "([{") - (cell[at] in ")]}")
        at = _next(cell, at)
        if depth == 0:
            return at
    return at


def _next(cell: str, at: int) -> int:
    """Behind the token at ``at``: comments, strings and characters are one token each."""
    if (behind := _skip_space(cell, at)) > at:
        return behind
    for token in (_RAW_STRING, _STRING, _CHARACTER, _WORD):
        if found := token.match(cell, at):
            return found.end()
    return at + 1


def _skip_space(cell: str, at: int) -> int:
    while at < len(cell):
        if found := _BLANK.match(cell, at) or _LINE_COMMENT.match(cell, at):
            at = found.end()
        elif cell.startswith("/*", at):
            at = _block_comment_end(cell, at)
        else:
            break
    return at


def _block_comment_end(cell: str, at: int) -> int:
    """Rust's block comments nest."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(cell, at):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(cell)
