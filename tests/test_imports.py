"""Imports run one way, and importing airust does nothing.

types < files, settings, corpus < gpt < engines, ui < serving, bench, rust < widgets, watch
< lessons < cli; what ``airust`` itself hands on lazily may come from any of them. Every import is
looked at: lazy ones inside functions, those under TYPE_CHECKING, and dotted names in strings (an
engine's entry in the registry, a module given to ``python -m``).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "airust"
# A part may import from itself and from parts of a lower level only.
LEVELS = (
    ("",),  # airust/__init__.py
    ("types",),
    ("files", "settings", "corpus"),
    ("gpt",),
    ("engines", "ui"),
    ("serving", "bench", "rust"),
    ("widgets", "watch"),
    ("lessons",),
    ("cli",),
    ("__main__",),
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
DOTTED = re.compile(r"(airust(?:\.\w+)+)(?::\w+)?")
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(file: Path) -> str:
    names = ["airust", *file.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = {module_name(file) for file in FILES}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported_modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and module of everything from airust that a file names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the import in full"
            base = node.module or ""
            # `from airust.gpt import model` names a module, `from airust import x` a value
            full = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else base for name in full]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = DOTTED.fullmatch(node.value)
            names = [found[1]] if found and found[1] in MODULES else []
        else:
            continue
        for name in names:
            if name.split(".")[0] == "airust":
                yield node.lineno, name


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_go_down(file: Path):
    own = part_of(module_name(file))
    if file == PACKAGE / "__init__.py":
        return  # lazy names for users (PEP 562); QUIET_IMPORT shows that they stay lazy
    assert own in LEVEL, f"give the new part {own!r} a level in this test"
    wrong = [
        f"line {line}: {name}"
        for line, name in imported_modules(ast.parse(file.read_text("utf-8")))
        if part_of(name) != own and LEVEL[part_of(name)] >= LEVEL[own]
    ]
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "from airust.engines.base import Engine",
        "import airust.engines.base",
        "def f():\n    from airust.engines import base",
        "if TYPE_CHECKING:\n    from airust.engines.base import Engine",
        "TARGET = 'airust.engines.base:Engine'",
    ],
)
def test_every_way_to_import_is_seen(text: str):
    assert [name for _, name in imported_modules(ast.parse(text))] == ["airust.engines.base"]


def test_no_two_modules_import_each_other_at_the_top():
    """A cycle among imports at module level works or fails by who is imported first."""
    edges: dict[str, set[str]] = {}
    for file in FILES:
        tree = ast.parse(file.read_text("utf-8"))
        top = ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        edges[module_name(file)] = {name for _, name in imported_modules(top)}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for name in sorted(edges.get(module, ())):
                visit(name, (*above, module))
            done.add(module)

    for module in sorted(edges):
        visit(module, ())


QUIET_IMPORT = """
import os, sys
read = []

class Spy(dict):
    def __getitem__(self, name): read.append(name); return super().__getitem__(name)
    def get(self, name, default=None): read.append(name); return super().get(name, default)
    def __contains__(self, name): read.append(name); return super().__contains__(name)
    def __iter__(self): read.append("all"); return super().__iter__()
    def items(self): read.append("all"); return super().items()
    def copy(self): read.append("all"); return super().copy()

os.environ = Spy(os.environ)
before = set(sys.modules)
import airust
new = {name.partition(".")[0] for name in set(sys.modules) - before} - {"airust"}
assert not read, f"environment read: {read}"
assert new <= set(sys.stdlib_module_names), f"libraries loaded: {new}"
"""


def test_importing_airust_has_no_side_effect():
    done = subprocess.run(
        [sys.executable, "-c", QUIET_IMPORT], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("module", ["airust.types", "airust.engines.base", "airust.cli"])
def test_the_vocabulary_and_the_contract_load_no_torch(module: str):
    script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
