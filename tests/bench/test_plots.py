"""Figures: every number of interest is drawn, every axis has its unit, every figure its words."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from airust.bench import plots, plots_learning
from airust.bench.alt_text import ALT_TEXTS, alt_text
from airust.bench.display import save_figure
from airust.bench.plot_style import colour
from airust.bench.tables import number

Results = dict[str, Any]
FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "overview": plots.overview,
    "parity": plots.parity,
    "latency": plots.latency,
    "decode": plots.decode,
    "memory": plots.memory,
    "shares": plots.shares,
    "training": plots_learning.training,
    "exam": plots_learning.exam,
}


def _words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_with_units_and_words(
    name: str, results: Results, tmp_path: Path
) -> None:
    figure = FIGURES[name](results)
    assert figure is not None
    png = save_figure(figure, name, tmp_path)
    assert (tmp_path / "figures" / f"{name}.png").read_bytes() == png
    assert int.from_bytes(png[16:20]) == 1200  # pixels wide
    for axes in figure.get_axes():
        assert axes.get_xlabel()
    assert len(alt_text(results, name)) > 40


def test_every_figure_has_alternative_text() -> None:
    assert set(FIGURES) == set(ALT_TEXTS)


def test_the_values_stand_beside_the_bars(results: Results) -> None:
    words = _words(plots.decode(results))
    for streams in (1, 4, 16):
        for value in results["summary"][f"decode_{streams}"]["engines"].values():
            assert number(value["estimate"]) in words
            assert number(value["estimate"]) in alt_text(results, "decode")


def test_an_engine_that_was_not_timed_is_not_drawn(results: Results) -> None:
    changed = deepcopy(results)
    changed["entries"][1]["reason"] = "parity failed"
    assert "transformers" not in _words(plots.decode(changed))


def test_without_training_and_exam_the_overview_is_the_engines_alone(results: Results) -> None:
    bare = results | {"training": None, "evaluation": None}
    assert plots_learning.training(bare) is None
    assert plots_learning.exam(bare) is None
    assert len(plots.overview(bare).get_axes()) == 3
    assert len(plots.overview(results | {"evaluation": None}).get_axes()) == 5
    assert "no eval.json" in _words(plots.overview(results | {"evaluation": None}))


def test_an_engine_keeps_its_colour() -> None:
    assert colour("torch") == colour("torch (A/A)") != colour("mistralrs")
    assert colour("a new engine") == colour("a new engine")


def test_the_same_results_give_the_same_bytes(results: Results, tmp_path: Path) -> None:
    first = save_figure(plots.decode(results), "first", tmp_path)
    assert save_figure(plots.decode(results), "second", tmp_path) == first
