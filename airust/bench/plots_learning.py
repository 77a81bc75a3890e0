"""Figures about the model: its training curve and its exam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from airust.bench.learning import scores
from airust.bench.plot_style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    THOUSANDS,
    VERMILLION,
    new_figure,
    tidy,
    title,
)
from airust.bench.tables import EXAMS, LANGUAGES

Results = dict[str, Any]
TINTS = (BLUE, ORANGE, GREEN, PURPLE)  # one a language


def training(results: Results) -> Figure | None:
    """Loss by step; None where nothing is known about it."""
    if not has_training(results):
        return None
    figure = new_figure(3.6)
    draw_training(figure.subplots(), results)
    return figure


def exam(results: Results) -> Figure | None:
    """Exact match by exam and language beside the majority baseline; None without an exam."""
    if not has_exam(results):
        return None
    rows = scores(results["evaluation"])
    figure = new_figure(1.0 + 0.34 * len(rows))
    draw_exam(figure.subplots(), rows)
    return figure


def has_training(results: Results) -> bool:
    """The model folder had a metrics.jsonl."""
    return results.get("training") is not None


def has_exam(results: Results) -> bool:
    """The model folder had an eval.json with scores."""
    return bool(scores(results.get("evaluation") or {}))


def draw_training(axes: Axes, results: Results) -> None:
    """The training curve, and the validation loss where it was measured."""
    if not has_training(results):
        _say(axes, "no metrics.jsonl in the model folder")
        return
    found = results["training"]
    axes.plot(*zip(*found["curve"], strict=True), color=BLUE, linewidth=1.3, label="training")
    if found["validation"]:
        steps, losses = zip(*found["validation"], strict=True)
        axes.plot(steps, losses, "o-", color=VERMILLION, markersize=3.5, label="validation")
        axes.legend(frameon=False, fontsize=9)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per token)")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(THOUSANDS)
    title(axes, "Training")
    tidy(axes, "y")


def draw_exam(axes: Axes, rows: Sequence[Results]) -> None:
    """One bar an exam and language; a black line marks the majority baseline."""
    if not rows:
        _say(axes, "no eval.json in the model folder")
        return
    exams = list(dict.fromkeys(row["exam"] for row in rows))
    languages = list(dict.fromkeys(row["language"] for row in rows))
    height = 0.8 / len(languages)
    for row in rows:
        number = languages.index(row["language"])
        place = exams.index(row["exam"]) + (number - (len(languages) - 1) / 2) * height
        _draw_score(axes, row, place, 0.88 * height, TINTS[number % len(TINTS)])
    axes.set_yticks(range(len(exams)), [_two_lines(EXAMS.get(name, name)) for name in exams])
    axes.set_ylim(len(exams) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("exact match (%); black line: the commonest answer")
    title(axes, "What it learned")
    tidy(axes, "x")


def _draw_score(axes: Axes, row: Results, place: float, height: float, tint: str) -> None:
    share, inside = 100 * row["exact"], row["exact"] > 0.5
    axes.barh(place, share, height=height, color=tint)
    if row["majority"] is not None:
        x, reach = 100 * row["majority"], height / 2
        axes.plot([x, x], [place - reach, place + reach], color=BLACK, linewidth=2)
    axes.annotate(
        f"{share:.1f}%  {LANGUAGES.get(row['language'], row['language'])}",
        (share, place),
        xytext=(-5 if inside else 5, 0),
        textcoords="offset points",
        ha="right" if inside else "left",
        va="center",
        color="white" if inside and tint == BLUE else "black",
        fontsize=9,
        fontweight="bold" if inside else "normal",
    )


def _two_lines(name: str) -> str:
    return name.replace(", ", ",\n").replace("_", " ")


def _say(axes: Axes, text: str) -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY)
