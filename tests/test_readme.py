"""The READMEs tell the truth: the tree, the commands, the files they point at."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from airust.cli import COMMANDS, build_app

ROOT = Path(__file__).resolve().parent.parent
ENGLISH = (ROOT / "README.md").read_text("utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")
MADE_BY_RUN = ("runs/", "reports/latest/")  # not in the repository


def blocks(text: str, *languages: str) -> list[str]:
    """The contents of the fenced blocks of these languages."""
    fence = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
    return [found[2] for found in fence.finditer(text) if found[1] in languages]


def tree_entries(text: str) -> set[str]:
    """Paths in the block that begins with `airust/`: two spaces a level, folders end with `/`."""
    (block,) = [block for block in blocks(text, "text") if block.startswith("airust/\n")]
    above: list[str] = []
    found = set()
    for line in block.split("\n\n")[0].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name.rstrip("/")]
        found.add("/".join(above) + ("/" if name.endswith("/") else ""))
    return found


def module_files() -> set[str]:
    files = (ROOT / "airust").rglob("*.py")
    return {f.relative_to(ROOT).as_posix() for f in files if f.name != "__init__.py"}


def test_the_tree_lists_every_module():
    missing = sorted(module_files() - tree_entries(ENGLISH))
    hints = []
    for name in missing:
        doc = ast.get_docstring(ast.parse((ROOT / name).read_text("utf-8"))) or ""
        hints.append(f"{name}   {doc.splitlines()[0] if doc else ''}")
    assert not missing, "add to README.md:\n" + "\n".join(hints)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_the_tree_lists_nothing_that_is_not_there(text: str):
    gone = [entry for entry in sorted(tree_entries(text)) if not (ROOT / entry).exists()]
    assert not gone


def test_both_trees_list_every_folder():
    folders = {f"{f.rpartition('/')[0]}/" for f in module_files()}
    assert folders <= tree_entries(ENGLISH)
    assert folders <= tree_entries(CHINESE)


def command_lines(text: str) -> list[list[str]]:
    """Every line of the shell blocks as words; Windows paths in POSIX form."""
    lines = "".join(blocks(text, "bash", "powershell")).splitlines()
    return [shlex.split(line.replace("\\", "/"), comments=True) for line in lines if line.strip()]


AIRUST = get_command(build_app())
AIRUST_LINES = [w[1:] for w in command_lines(ENGLISH) if w[0].split("/")[-1] == "airust"]
MAKE_LINES = [words[1:] for words in command_lines(ENGLISH) if words[0] == "make"]


@pytest.mark.parametrize("words", AIRUST_LINES, ids=" ".join)
def test_airust_commands_exist_with_their_options(words: list[str]):
    if words == ["--help"]:
        return
    assert words[0] in COMMANDS
    command, rest = AIRUST, list(words)
    while hasattr(command, "commands"):  # a folder of commands
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("words", MAKE_LINES, ids=" ".join)
def test_make_targets_and_variables_exist(words: list[str]):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    target, *variables = words
    assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
    for variable in variables:
        assert re.search(rf"^{variable.split('=')[0]} \?=", makefile, flags=re.MULTILINE)


def test_the_two_commands_come_first():
    assert MAKE_LINES[:2] == [["run"], ["test"]]


def test_commands_also_stand_in_the_prose():
    for text in (ENGLISH, CHINESE):
        for target in re.findall(r"`make ([a-z-]+)", text):
            assert [target] in [words[:1] for words in MAKE_LINES]


def test_chinese_has_the_same_sections_and_commands():
    def headings(text: str) -> list[int]:
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        return [len(marks) for marks in re.findall(r"^(#+) ", prose, flags=re.MULTILINE)]

    assert headings(CHINESE) == headings(ENGLISH)
    assert command_lines(CHINESE) == command_lines(ENGLISH)


def test_both_tables_name_the_same_files():
    def paths(text: str) -> list[str]:
        return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)

    assert paths(CHINESE) == paths(ENGLISH)
    assert all(path.startswith(MADE_BY_RUN) for path in paths(ENGLISH))


REPORT = ROOT / "reports" / "2026-11-28-engines" / "results.json"
COLUMNS = ("torch", "torch:dtype=bfloat16", "candle", "mistralrs", "llamacpp", "transformers")
ROWS = ("decode_1", "decode_16", "decode_64", "prefill")


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_the_headline_figures_are_those_of_the_report(text: str):
    models = {m["model"]["name"]: m["summary"] for m in json.loads(REPORT.read_text())["models"]}

    def figure(model: str, metric: str, engine: str, unit: float = 1.0) -> str:
        value = models[model][metric]["engines"][engine]["estimate"] / unit
        return number(value, 4 if value >= 1000 else 3 if value >= 10 else 2)

    lines = text[text.index("| torch | torch") :].splitlines()[2:6]
    for line, metric in zip(lines, ROWS, strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
        assert cells == [figure("random-qwen3-100m", metric, engine) for engine in COLUMNS]
    for engine in ("torch", "mistralrs", "llamacpp", "candle"):
        assert figure("tiny", "decode_1", engine) in text
    for engine in ("torch", "llamacpp", "candle"):
        assert figure("random-qwen3-100m", "memory", engine, 1e9) in text
    for engine in ("torch", "mistralrs"):
        assert figure("random-qwen3-100m", "load", engine) in text


def number(value: float, digits: int) -> str:
    """With so many significant digits; 1,193 and 68.2."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:.3g}"
