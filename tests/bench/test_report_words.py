"""The notebooks on made-up records: every cell runs, every number comes from results.json.

The cells are executed here, without a kernel, on a folder that already holds a run
(``measure = False``), so that all four reports are looked at within seconds.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.display import Image, Markdown

from airust.bench import display
from airust.bench.kinds import MEASUREMENTS, NOTEBOOKS
from airust.bench.report import find_notebook

HERE = Path(__file__).parent


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"made_up_{name}", HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _records(name: str) -> list[dict[str, Any]]:
    if name == "serving_load":
        found: list[dict[str, Any]] = _module("test_serve_bench").made_up()
        return found
    module = "test_train_bench" if name == "training_scaling" else "test_engine_results"
    records: list[dict[str, Any]] = _module(module).make_records()
    return records


class _Place:
    def __init__(self, shown: list[object]) -> None:
        self.shown = shown

    def update(self, content: object) -> None:
        self.shown.append(content)


def _execute(name: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[Image]]:
    """All Markdown and all figures that the notebook's cells show."""
    shown: list[object] = []

    def show(content: object, display_id: bool = False) -> _Place:
        shown.append(content)
        return _Place(shown)

    monkeypatch.setattr("IPython.display.display", show)
    names: dict[str, Any] = {}
    for cell in nbformat.read(find_notebook(name), as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"out": str(out), "measure": False}
    words = "\n".join(str(x.data) for x in shown if isinstance(x, Markdown))
    return words, [x for x in shown if isinstance(x, Image)]


def _ratios(values: list[float]) -> list[str]:
    return [f"{a / b:.2f}" for a in values for b in values if b]


def _estimates(value: Any) -> list[float]:
    """Every estimate and every rate of a sweep: what factors are made of."""
    if isinstance(value, dict):
        own = [v for k, v in value.items() if k in ("estimate", "rate") and isinstance(v, float)]
        rates = value.get("rates")
        own += list(rates.values()) if isinstance(rates, dict) else []
        return own + [x for child in value.values() for x in _estimates(child)]
    return [x for child in value for x in _estimates(child)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_every_cell_runs_and_every_number_has_its_source(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check_numbers: Callable[..., None]
) -> None:
    out = tmp_path / "report"
    out.mkdir()
    lines = [json.dumps(record) + "\n" for record in _records(name)]
    (out / "raw.jsonl").write_text("".join(lines), "utf-8")
    words, figures = _execute(name, out, monkeypatch)
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert MEASUREMENTS[results["kind"]] is NOTEBOOKS[name]
    assert figures and len(list((out / "figures").glob("*.png"))) == len(figures)
    for figure in figures:
        alt = figure._data_and_metadata()[1]["alt"]
        assert len(alt) > 40
        check_numbers(alt, results, _derived(results))
    body = re.sub(r"```bash.*?```", "", words, flags=re.DOTALL)  # the command, with its defaults
    assert len(re.findall(r"\d", body)) > 300
    check_numbers(body, results, _derived(results))


def _derived(results: dict[str, Any]) -> list[str]:
    """Numbers that the words work out from the results: each one again here."""
    found = _ratios(_estimates(results))
    if results["kind"] == "serve":
        points = [p for x in results["launches"] for p in x["points"].values()]
        asked = sum(p["prompt_tokens"] for p in points)
        found.append(f"{100 * sum(p['cached_tokens'] for p in points) / asked:.1f}")
        found.append(f"{sum(x['checks']['exact'] for x in results['launches']):,}")
        found.append(str(len(results["launches"])))
    if results["kind"] == "train":
        found.append("768")  # the size of the product that is the ceiling
    for model in results.get("models", []):
        found += [str(len(model["launches"]) // 3), "3"]  # launches of each of the three entries
        exams = [q["exam"] for q in model["quality"].values()]
        found += [f"{100 * exam['right'] / exam['n']:.1f}" for exam in exams]
        read, both = model["model"]["parameters_read_per_token"], 2 * model["model"]["parameters"]
        found += [f"{both * e / 1e9:.3g}" for e in _estimates(model)] + [f"{4 * read / 1e6:.2f}"]
    return found


def test_what_is_shown_is_written(tmp_path: Path) -> None:
    assert display.show_figure(None, "nothing", "nothing", tmp_path) is None
    assert not (tmp_path / "figures").exists()
