"""What training left in the model folder: the curve (metrics.jsonl) and the exam (eval.json)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from airust.types import UserError

EXAMS = ("held_out", "held_out_new_wording", "explanations", "small_talk", "tuned_new_wording")
CURVE_POINTS = 300  # at most; a curve of more steps is averaged over runs of steps


def read_learning(folder: Path, others: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that training left, and the exams of other runs.

    Raises:
        UserError: one of those has none.
    """
    return {
        "training": read_training(folder),
        "evaluation": read_evaluation(folder),
        "compared": read_others(others),
    }


def read_training(folder: Path) -> dict[str, Any] | None:
    """The training curve and its figures, or None where the folder has no metrics.jsonl."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return None
    # A resumed run may write a step twice; the later record is the one that counts.
    records = {record["step"]: record for record in _records(path) if "loss" in record}
    if not records:
        return None
    steps = [records[step] for step in sorted(records)]
    curve = _thin([(record["step"], record["loss"]) for record in steps])
    last = steps[-1]
    return {
        "steps": last["step"],
        "tokens": last.get("tokens"),
        "seconds": last.get("elapsed_s"),
        "final_loss": curve[-1][1],
        "tokens_per_s": _median(steps, "tokens_per_s"),
        "mfu": _median(steps, "mfu"),
        "curve": curve,
        "validation": [(r["step"], r["val_loss"]) for r in steps if r.get("val_loss") is not None],
    }


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # training was killed while it wrote the line
            continue
        if isinstance(record, dict) and "step" in record:
            yield record


def _thin(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    width = -(-len(curve) // CURVE_POINTS)
    groups = [curve[i : i + width] for i in range(0, len(curve), width)]
    return [(group[-1][0], mean(loss for _, loss in group)) for group in groups]


def _median(records: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [record[key] for record in records if record.get(key) is not None]
    return median(values) if values else None


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """eval.json without the list of single wrong answers; None where there is none to read."""
    try:
        values = json.loads((folder / "eval.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(values, dict):
        return None
    return {key: value for key, value in values.items() if key != "wrong"}


def read_others(folders: Sequence[str]) -> list[dict[str, Any]]:
    """eval.json of other runs, each with its folder's name.

    Raises:
        UserError: a folder has none.
    """
    found = []
    for folder in folders:
        evaluation = read_evaluation(Path(folder))
        if evaluation is None:
            raise UserError(f"compare names '{folder}', but there is no readable eval.json in it.")
        found.append({"name": Path(folder).name, "evaluation": evaluation})
    return found


def scores(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a part of the exam and language: exam, language, n, exact and majority of 1.

    The majority baseline always gives the commonest value of a relation; it exists for facts.
    """
    found = evaluation.get("scores", {})
    baseline = _majority(evaluation.get("relations", []))
    return [
        {
            "exam": exam,
            "language": language,
            "n": score["n"],
            "exact": score["exact"],
            "majority": baseline.get(language) if exam.startswith("held_out") else None,
        }
        for exam in sorted(found, key=_rank)
        for language, score in found[exam].items()
        if score.get("n")
    ]


def _rank(exam: str) -> int:
    return EXAMS.index(exam) if exam in EXAMS else len(EXAMS)


def _majority(relations: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Language -> what the baseline scores over all relations, weighted by their questions."""
    right: dict[str, float] = defaultdict(float)
    asked: dict[str, int] = defaultdict(int)
    for row in relations:
        if row.get("majority") is not None:
            right[row["language"]] += row["n"] * row["majority"]
            asked[row["language"]] += row["n"]
    return {language: right[language] / count for language, count in asked.items()}
