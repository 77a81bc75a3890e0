"""The browser side of a widget as one piece of text, since a widget has no files in a browser.

A browser finds ES modules by their URLs. In a notebook there are none: the modules travel as
text, and ``static/loader.js`` gives each a blob URL, leaves first, and puts these URLs where
the imports were. Nothing is minified or rewritten beyond that.

>>> [name for name, _ in modules(STATIC / "attention.js")]
['dom.js', 'attention.js']
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import os
import re
from pathlib import Path

from airust.types import AirustError

STATIC = Path(__file__).resolve().parent / "static"
# `import x from "./y.js"`, `export * from "./y.js"`, `import "./y.js"`, `import("./y.js")`
IMPORT = re.compile(
    r"""(?P<before>(?:^|[\s;}])(?:import|from)\s*\(?\s*)(?P<quote>["'])(?P<path>\.{1,2}/[^"'\n]+)(?P=quote)"""
)
URL = re.compile(r"""url\(\s*["']?(?P<path>[^"')]+)["']?\s*\)""")
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


def css(path: Path) -> str:
    """A style sheet with its fonts and images inside; of several font formats only WOFF2."""

    def inline(found: re.Match[str]) -> str:
        target = found["path"].split("#")[0].split("?")[0]
        if target.startswith("data:") or ":" in target:
            return found[0]
        file = (path.parent / target).resolve()
        if file.suffix in (".woff", ".ttf", ".otf", ".eot"):
            return "url(data:,)"  # an older format of what is there as WOFF2, too
        kind = mimetypes.guess_type(file.name)[0] or "font/woff2"
        data = base64.b64encode(file.read_bytes()).decode()
        return f"url(data:{kind};base64,{data})"

    return URL.sub(inline, path.read_text("utf-8"))
