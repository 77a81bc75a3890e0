"""The browser side of a widget as one piece of text, since a widget has no files in a browser.

A browser finds ES modules by their URLs. In a notebook there are none: the modules travel as
text, and ``static/loader.js`` gives each a blob URL, leaves first, and puts these URLs where
the imports were. Nothing is minified or rewritten beyond that.

>>> [name for name, _ in modules(STATIC / "attention.js")]
['dom.js', 'attention.js']
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from airust.types import AirustError

STATIC = Path(__file__).resolve().parent / "static"
# `import x from "./y.js"`, `export * from "./y.js"`, `import "./y.js"`, `import("./y.js")`
IMPORT = re.compile(
    r"""(?P<before>(?:^|[\s;}])(?:import|from)\s*\(?\s*)(?P<quote>["'])(?P<path>\.{1,2}/[^"'\n]+)(?P=quote)"""
)
MARK = "airust:"  # in place of a relative path; the loader knows it


def modules(entry: Path) -> list[tuple[str, str]]:
    """A module and all that it imports, as (name, source), each after those it needs.

    Names are paths below the folder of the whole; relative imports in the sources have become
    ``airust:NAME``.

    Raises:
        AirustError: modules import each other in a circle, which blob URLs cannot express.
    """
    order: dict[Path, str] = {}
    root = entry.resolve().parent

    def name(path: Path) -> str:
        return Path(os.path.relpath(path, root)).as_posix()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        if path in above:
            circle = " -> ".join(name(p) for p in [*above, path])
            raise AirustError(f"The modules import each other in a circle: {circle}.")
        if path in order:
            return
        source = path.read_text("utf-8")
        for found in IMPORT.finditer(source):
            visit((path.parent / found["path"]).resolve(), (*above, path))
        order[path] = IMPORT.sub(
            lambda m: f'{m["before"]}"{MARK}{name((path.parent / m["path"]).resolve())}"', source
        )

    visit(entry.resolve(), ())
    return [(name(path), source) for path, source in order.items()]


def esm(entry: Path) -> str:
    """A module that loads ``entry`` and exports its default: for ``AnyWidget._esm``."""
    loader = (STATIC / "loader.js").read_text("utf-8")
    listed = json.dumps(modules(entry), ensure_ascii=False)
    return f"{loader}\nexport default (await load({listed})).default;\n"


def version(listed: list[tuple[str, str]]) -> str:
    """A name for modules as they are."""
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
