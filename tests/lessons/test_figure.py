"""Figures: the same bytes every time, with their words."""

from __future__ import annotations

from typing import Any

import pytest

from airust.lessons import figure as fig
from airust.lessons.path import NEEDS, STATIONS, path_map


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    monkeypatch.setattr(
        "IPython.display.display",
        lambda content, raw, metadata: found.append((content, metadata)),
    )
    return found


def test_a_figure_is_shown_as_bytes_that_do_not_change_and_in_words(shown):
    for _ in range(2):
        figure = fig.new_figure(3, 2)
        axes = figure.subplots()
        axes.plot([1, 2], [3, 4])
        fig.tidy(axes, "title")
        fig.show(figure, "A line that rises.")
    (first, metadata), (second, _) = shown
    assert first == second
    assert first["text/plain"] == "A line that rises."
    assert metadata == {"image/png": {"alt": "A line that rises."}}


def test_the_map_has_every_station_and_each_can_be_reached_from_the_start(shown):
    reached = {"00"}
    for _ in NEEDS:
        reached |= {after for before, after in NEEDS if before in reached}
    assert reached == set(STATIONS)
    texts = {text.get_text() for text in path_map().axes[0].texts}
    assert set(STATIONS) <= texts
