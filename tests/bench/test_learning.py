"""The training curve and the exam as the report reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airust.bench.learning import CURVE_POINTS, read_evaluation, read_others, read_training, scores
from airust.types import UserError


def _write(folder: Path, records: list[dict[str, Any]], tail: str = "") -> None:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(lines + tail, "utf-8")


def _record(step: int, **values: Any) -> dict[str, Any]:
    return {"step": step, "loss": 1 / step, "tokens": 100 * step, "elapsed_s": step / 10, **values}


def test_a_folder_without_training_says_so(tmp_path: Path) -> None:
    assert read_training(tmp_path) is None
    assert read_evaluation(tmp_path) is None
    _write(tmp_path, [])
    assert read_training(tmp_path) is None


def test_the_figures_of_a_training_run(tmp_path: Path) -> None:
    records = [_record(step, tokens_per_s=10.0 * step, mfu=0.1) for step in (1, 2, 3)]
    records[2]["val_loss"] = 0.7
    _write(tmp_path, records)
    assert read_training(tmp_path) == {
        "steps": 3,
        "tokens": 300,
        "seconds": 0.3,
        "final_loss": pytest.approx(1 / 3),
        "tokens_per_s": 20.0,
        "mfu": pytest.approx(0.1),
        "curve": [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))],
        "validation": [(3, 0.7)],
    }


def test_a_killed_and_resumed_run(tmp_path: Path) -> None:
    """The later record of a step counts, and half a line is no record."""
    _write(tmp_path, [_record(1), _record(2), _record(2, loss=9.0)], tail='{"step": 3, "lo')
    found = read_training(tmp_path)
    assert found is not None
    assert found["curve"] == [(1, 1.0), (2, 9.0)]


def test_a_long_curve_is_averaged(tmp_path: Path) -> None:
    _write(tmp_path, [_record(step, loss=float(step % 2)) for step in range(1, 2001)])
    found = read_training(tmp_path)
    assert found is not None
    assert len(found["curve"]) <= CURVE_POINTS and found["curve"][-1][0] == 2000
    assert found["curve"][0][1] == pytest.approx(0.5, abs=0.1)


def test_the_exam_without_the_list_of_wrong_answers(tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text('{"scores": {}, "wrong": ["much"]}')
    assert read_evaluation(tmp_path) == {"scores": {}}


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_broken_exam_is_no_exam(tmp_path: Path, text: str) -> None:
    (tmp_path / "eval.json").write_text(text)
    assert read_evaluation(tmp_path) is None


def test_the_majority_baseline_is_weighted_by_questions() -> None:
    relations = [
        {"language": "en", "n": 30, "exact": 1.0, "majority": 0.1},
        {"language": "en", "n": 10, "exact": 1.0, "majority": 0.5},
    ]
    parts = {
        "explanations": {"en": {"n": 5, "exact": 0.4}},
        "held_out": {"en": {"n": 40, "exact": 0.9}, "zh": {"n": 0, "exact": 0.0}},
    }
    rows = scores({"scores": parts, "relations": relations})
    assert rows == [
        {"exam": "held_out", "language": "en", "n": 40, "exact": 0.9, "majority": 0.2},
        {"exam": "explanations", "language": "en", "n": 5, "exact": 0.4, "majority": None},
    ]
    assert scores({}) == []


def test_other_runs_are_named_after_their_folders(tmp_path: Path) -> None:
    folder = tmp_path / "two-stage"
    folder.mkdir()
    with pytest.raises(UserError, match=r"compare names '.*two-stage'"):
        read_others([str(folder)])
    (folder / "eval.json").write_text('{"scores": {}, "wrong": []}', "utf-8")
    assert read_others([str(folder)]) == [{"name": "two-stage", "evaluation": {"scores": {}}}]
