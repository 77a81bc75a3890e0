"""The reports that there are: which notebook shows what which measurement found.

The parameters of a notebook are the fields of its plan, and ``measure``: False shows what the
folder's ``raw.jsonl`` already holds.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from airust.bench import (
    engine_results,
    engine_tables,
    serve_results,
    serve_tables,
    train_results,
    train_tables,
)
from airust.bench.engine_bench import EngineBench
from airust.bench.engine_plan import EnginePlan
from airust.bench.journal import read_records
from airust.bench.pace import Status
from airust.bench.progress import tell
from airust.bench.random_model import random_model, random_name
from airust.bench.run_folder import RAW_FILE, RESULTS_FILE, SUMMARY_FILE
from airust.bench.serve_bench import ServeBench
from airust.bench.serve_plan import ServePlan
from airust.bench.train_bench import TrainBench
from airust.bench.train_plan import TrainPlan
from airust.files import write_json, write_text
from airust.types import UserError

PROGRESS_FILE = ".progress"
MEASURE = "measure"


# Minutes instead of hours: no thread sweep, few and short launches.
QUICK: dict[str, Any] = {
    "launches": 3, "streams": [1, 4, 16], "tune_s": 0.0, "budget_s": 90.0, "launch_s": 3.0,
    "repeats": 3, "parity_prompts": 8, "parity_tokens": 32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measurement:
    """One kind of run, from what is asked for to the words about it."""

    plan: type[Any]
    bench: type[Any]  # (plan, resume, force, tell) -> something that runs
    build: Callable[[Sequence[dict[str, Any]]], dict[str, Any]]  # records -> results.json
    page: Callable[[dict[str, Any]], str]  # results -> summary.md
    headline: Callable[[dict[str, Any]], str]


ENGINES = Measurement(
    EnginePlan, EngineBench, engine_results.build_results, engine_tables.summary_page,
    engine_tables.headline,
)  # fmt: skip
SERVE = Measurement(
    ServePlan, ServeBench, serve_results.build_results, serve_tables.summary_page,
    serve_tables.headline,
)  # fmt: skip
TRAIN = Measurement(
    TrainPlan, TrainBench, train_results.build_results, train_tables.summary_page,
    train_tables.headline,
)  # fmt: skip
NOTEBOOKS = {
    "engine_comparison": ENGINES,
    "serving_load": SERVE,
    "training_scaling": TRAIN,
    "quantisation": ENGINES,
}
MEASUREMENTS = {"engines": ENGINES, "serve": SERVE, "train": TRAIN}  # by the kind in results.json


def measurement(notebook: str) -> Measurement:
    """What a notebook measures.

    Raises:
        UserError: there is no such report.
    """
    if notebook not in NOTEBOOKS:
        raise UserError(f"There is no report '{notebook}'; there are: {', '.join(NOTEBOOKS)}.")
    return NOTEBOOKS[notebook]


def quick(kind: Measurement) -> dict[str, Any]:
    """Parameters of a quick report."""
    known = {field.name for field in fields(kind.plan)}
    return {name: value for name, value in QUICK.items() if name in known}


def make_plan(kind: Measurement, values: Mapping[str, Any]) -> Any:
    """The plan with these values, lists as tuples; random models are made if they are missing.

    Raises:
        UserError: a name is unknown, or a value does not fit.
    """
    known = {field.name: str(field.type) for field in fields(kind.plan)}
    given = {}
    for name, value in values.items():
        if name not in known:
            names = ", ".join((*known, MEASURE))
            raise UserError(f"Unknown parameter '{name}'; the report knows: {names}.")
        if known[name].startswith("tuple") and not isinstance(value, list | tuple):
            raise UserError(f"{name} is {value!r} but must be a list, such as [...].")
        given[name] = tuple(value) if isinstance(value, list) else value
    try:
        for folder in filter(None, (*given.get("models", ()), given.get("model"))):
            if (random := random_name(folder)) is not None:
                random_model(random)
        return kind.plan(**given)
    except (TypeError, AttributeError) as error:
        raise UserError(f"A parameter is missing or has the wrong type: {error}.") from error


class Report:
    """A report on its way, as its notebook sees it.

    Args:
        parameters: the names of the parameters cell; others are left alone, so that a notebook
            can hand over its ``globals()``.
    """

    def __init__(self, notebook: str, parameters: Mapping[str, Any]) -> None:
        self.notebook, self.kind = notebook, measurement(notebook)
        names = [field.name for field in fields(self.kind.plan)]
        self.plan = make_plan(self.kind, {name: parameters[name] for name in names})
        self.out, self.wanted = Path(self.plan.out), bool(parameters[MEASURE])

    def measure(self) -> dict[str, Any]:
        """The results: measured now, as far as the folder does not hold them, or only read."""
        watch = partial(tell, self.out / PROGRESS_FILE)
        if self.wanted:
            results: dict[str, Any] = self.kind.bench(self.plan, resume=True, tell=watch).run()
        else:
            records = read_records(self.out / RAW_FILE)
            if not records:
                raise UserError(f"There is nothing to show in '{self.out}'; measure=true measures.")
            results = self.kind.build(records)
            write_json(self.out / RESULTS_FILE, results)
            write_text(self.out / SUMMARY_FILE, self.kind.page(results))
        watch(Status("figures", results["seconds"], 1.0))
        # As a reader of the file will see it: lists, and text for keys.
        found: dict[str, Any] = json.loads(json.dumps(results))
        return found

    def command(self) -> str:
        """The shell command that makes this report again, as Markdown."""
        words = ["airust", "report", self.notebook, "--out", self.plan.out]
        for field in fields(self.kind.plan):
            value = getattr(self.plan, field.name)
            if field.name != "out" and value != field.default:
                words += ["--set", f"{field.name}={json.dumps(value, separators=(',', ':'))}"]
        return f"```bash\n{shlex.join(words)}\n```"
