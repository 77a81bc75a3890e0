"""Several models in several engines: the run behind ``airust bench engines``.

    ceilings    what the machine can do at best, at the beginning and at the end
    parity      an engine that computes something else is not timed
    quality     perplexity, and answers to the held-out questions
    answers     what the timed output is compared with
    tune        how many threads each engine should use, in a stated budget
    launch      blocks: every engine and the A/A twin once a model, in random order

Each step is a record in ``raw.jsonl`` (``journal``), so that a run that was stopped goes on
behind its last record, and ``results.json`` is made from the records alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from airust.bench import host
from airust.bench.child import check_result, run_worker
from airust.bench.contention import calibrate
from airust.bench.engine_plan import EnginePlan, missing_engines
from airust.bench.engine_results import build_results, given_up, model_entries, of_kind
from airust.bench.engine_tables import summary_page
from airust.bench.journal import Key, Record
from airust.bench.learning import read_learning
from airust.bench.pace import LEAST_BLOCKS, Blocks, Status, Steps
from airust.bench.parity_gate import prove_entry, read_entry
from airust.bench.reference import read_references
from airust.bench.run_folder import (
    SCRATCH,
    beginning,
    check_same,
    open_journal,
    plain,
    shuffled,
    write_results,
)
from airust.bench.runner import Bench, Entry, RunSettings, with_aa_pair
from airust.bench.tuning import (
    OUTLINE_STREAMS,
    ROUNDS,
    Threads,
    candidates,
    quiet_launches,
    with_threads,
)
from airust.bench.workload import make_workload
from airust.files import write_text
from airust.gpt.tokenizer import Tokenizer

MB = 1_000_000
CEILINGS_TIMEOUT_S, ANSWERS_TIMEOUT_S, QUALITY_TIMEOUT_S = 120.0, 1200.0, 300.0
STALL_S = 150.0  # a launch without a result until then has stalled
SWEEP_S = 2.5  # after which a launch of the sweep leaves out further repeats

Model = dict[str, Any]  # as the plan's record describes it


class Trial(NamedTuple):
    """A launch of the thread sweep."""

    model: Model
    entry: Entry
    threads: Threads

    def key(self, number: int) -> Key:
        """Its key in round ``number``."""
        threads = "default" if self.threads is None else self.threads
        return ["tune", self.model["name"], self.entry.label, threads, number]


class EngineBench:
    """A run in its folder.

    Raises:
        UserError: the plan does not fit the machine or the models, or the folder holds another
            run and neither ``resume`` nor ``force`` is given.
    """

    def __init__(
        self,
        plan: EnginePlan,
        resume: bool = False,
        force: bool = False,
        tell: Callable[[Status], None] = lambda _: None,
    ) -> None:
        self.plan, self.out, self.entries = plan, Path(plan.out), plan.entries()
        fingerprint = self._fingerprint()
        journal = open_journal(self.out, resume, force)
        self.steps = Steps(journal, tell, self._left)
        self.models: list[Model] = []  # until the first step is done
        start = self.steps.once(["plan"], lambda: self._describe(fingerprint))
        check_same(self.out, start["fingerprint"], fingerprint)
        self.models = start["models"]
        self._benches: dict[str, Bench] = {}
        self._calibration: dict[str, float] | None = None

    def run(self) -> dict[str, Any]:
        """Do what is not done yet; results.json and summary.md are written however it ends."""
        try:
            self.steps.once(["ceilings", "before"], self._ceilings)
            for model in self.models:
                for entry in self.entries:
                    key = ["parity", model["name"], entry.label]
                    self.steps.once(key, partial(self._parity, model, entry))
                for entry in self._timed(model, tuned=False)[:-1]:
                    key = ["quality", model["name"], entry.label]
                    self.steps.once(key, partial(self._quality, model, entry))
            self._tune()
            reason = self._launch_blocks()
            self.steps.once(["ceilings", "after"], self._ceilings)
            self.steps.journal.add(["end"], {"reason": reason})
            shutil.rmtree(self.out / SCRATCH, ignore_errors=True)
        finally:
            results = build_results(self.steps.journal.records)
            write_results(self.out, results, summary_page(results))
        return results

    def _fingerprint(self) -> dict[str, Any]:
        weights = {m: host.describe_model(Path(m))["weights_sha256"] for m in self.plan.models}
        values = self.plan.fingerprint() | {"weights": weights, "versions": host.versions()}
        return plain(values)

    def _describe(self, fingerprint: dict[str, Any]) -> Record:
        parameters = asdict(self.plan) | {"cores": self.plan.used_cores}
        return beginning(self.plan.command(), parameters, fingerprint) | {
            "missing": missing_engines(self.plan.engines),
            "models": [self._describe_model(folder) for folder in self.plan.models],
        }

    def _describe_model(self, folder: str) -> Model:
        found, spec = host.describe_model(Path(folder)), self.plan.spec(folder)
        return {
            "name": found["name"],
            "folder": folder,
            "model": found,
            "spec": spec.to_dict(),
            "notes": self.plan.notes(folder),
            "learning": read_learning(Path(folder), self.plan.compare),
            "workload_sha256": make_workload(Tokenizer.load(Path(folder)), spec).sha256(),
        }

    def _ceilings(self) -> Record:
        read = [model["model"]["parameters_read_per_token"] for model in self.models]
        sizes = sorted({256 * MB, *(size * count for count in read for size in (1, 2, 4))})
        job = {"kind": "ceilings", "threads": self.plan.used_cores, "working_sets": sizes}
        result = check_result(run_worker(job, CEILINGS_TIMEOUT_S), "Measuring the ceilings")
        return {"ceilings": result["ceilings"]}

    def _parity(self, model: Model, entry: Entry) -> Record:
        job = self._job("parity", model) | {
            "prompts": self.plan.parity_prompts,
            "new_tokens": self.plan.parity_tokens,
        }
        return {"entry": entry.to_dict(), "parity": prove_entry(job, entry)}

    def _quality(self, model: Model, entry: Entry) -> Record:
        job = self._job("quality", model) | {
            "engine": entry.engine,
            "options": entry.options,
            "serve": entry.serve,
            "text": self.plan.text,
            "text_tokens": self.plan.text_tokens,
            "exam_questions": self.plan.exam_questions,
            "pool": None,
        }
        return {"quality": run_worker(job, QUALITY_TIMEOUT_S)}

    def _job(self, kind: str, model: Model) -> dict[str, Any]:
        return {"kind": kind, "model": model["folder"], "threads": self.plan.used_cores}

    # The thread sweep

    def _tune(self) -> None:
        """One launch for every engine, model and count; again what met other work."""
        if any(record["key"][0] == "launch" for record in self.steps.journal.records):
            return  # the choice stands
        if self.plan.tune_s == 0:
            return  # every engine's own default
        trials = [trial for model in self.models for trial in self._trials(model)]
        for number in range(ROUNDS):
            if number:
                trials = self._disturbed(trials)
            cost = self.steps.expected(trial.key(number) for trial in trials)
            if number and self.steps.spent("tune") + cost > self.plan.tune_s:
                return
            for trial in shuffled(trials, f"{self.plan.seed} sweep {number}"):
                known = self.steps.journal.find(trial.key(number))
                if known is None and self._worth_it(trial.model, trial.entry):
                    bench = self._outline(trial.model)
                    self.steps.do(trial.key(number), partial(self._try, bench, trial))

    def _disturbed(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those of which every launch met other work on the machine."""
        sweep = [x for x in self.steps.journal.records if x["key"][0] == "tune"]
        quiet = [launch["key"][:-1] for launch in quiet_launches(sweep)]
        return [trial for trial in trials if list(trial.key(0))[:-1] not in quiet]

    def _trials(self, model: Model) -> Iterator[Trial]:
        for entry in self._timed(model, tuned=False)[:-1]:  # the last one is the A/A twin
            counts = candidates(entry, self.plan.used_cores)
            yield from (Trial(model, entry, threads) for threads in counts if len(counts) > 1)

    def _outline(self, model: Model) -> Bench:
        bench = self._ready(model)
        settings = replace(bench.settings, seconds=min(SWEEP_S, self.plan.launch_s))
        return replace(bench, workload=bench.workload.outline(OUTLINE_STREAMS), settings=settings)

    def _try(self, bench: Bench, trial: Trial) -> Record:
        entry = with_threads(trial.entry, trial.threads)
        return {"candidate": trial.threads} | self._launch(bench, entry)

    # The timed launches

    def _launch_blocks(self) -> str:
        """Blocks of launches; why there are no more of them."""
        blocks = Blocks(self.steps, self.plan.launches, self.plan.budget_s, self._block_keys)
        for block in blocks:
            seed = f"{self.plan.seed} block {block}"
            for model in shuffled(self.models, seed):
                for entry in shuffled(self._timed(model), f"{seed} {model['name']}"):
                    self._launch_once(model, entry, block)
        return blocks.reason

    def _launch_once(self, model: Model, entry: Entry, block: int) -> None:
        key = launch_key(model, entry, block)
        if self.steps.journal.find(key) is None and self._worth_it(model, entry):
            bench = self._ready(model)
            self.steps.do(key, lambda: {"block": block} | self._launch(bench, entry))

    def _worth_it(self, model: Model, entry: Entry) -> bool:
        return given_up(self.steps.journal.records, model["name"], entry.label) is None

    def _launch(self, bench: Bench, entry: Entry) -> Record:
        """A launch between two calibrations."""
        before = self._calibration or calibrate()
        record = bench.launch(entry)
        self._calibration = calibrate()
        return record | {"calibration": [before, self._calibration]}

    def _timed(self, model: Model, tuned: bool = True) -> list[Entry]:
        """The engines that passed parity and the A/A twin."""
        records = model_entries(self.steps.journal.records, model, tuned)
        return [read_entry(record) for record in records if record["reason"] is None]

    def _ready(self, model: Model) -> Bench:
        """What the launches of a model share; the answers stay on the disk until the end."""
        name, folder = model["name"], Path(model["folder"])
        if name not in self._benches:
            tokenizer, spec = Tokenizer.load(folder), self.plan.spec(str(folder))
            workload = make_workload(tokenizer, spec)
            path = self.out / SCRATCH / f"{name}.json"
            if not path.is_file():
                job = self._job("reference", model) | {"workload": workload.to_dict()}
                self.steps.do(["answers", name], partial(_answer, job, path))
            references = read_references(json.loads(path.read_text("utf-8")))
            settings = RunSettings(
                self.plan.launches, self.plan.used_cores, self.plan.launch_s, timeout_s=STALL_S
            )
            self._benches[name] = Bench(folder, workload, references, tokenizer, settings)
        return self._benches[name]

    # What is left

    def _left(self) -> float:
        """Seconds: all launches, or fewer where the budget ends before."""
        others: list[Key] = [["ceilings", "before"], ["ceilings", "after"]]
        for model in self.models:
            others.append(["answers", model["name"]])
            for kind in ("parity", "quality"):
                others += [[kind, model["name"], entry.label] for entry in self.entries]
            others += [trial.key(0) for trial in self._trials(model)] if self.plan.tune_s else []
        first = self.steps.expected(others)
        blocks = [self.steps.expected(self._block_keys(b)) for b in range(self.plan.launches)]
        budget = self.plan.budget_s - self.steps.spent()
        return min(first + sum(blocks), max(first + sum(blocks[:LEAST_BLOCKS]), budget))

    def _block_keys(self, block: int) -> list[Key]:
        return [
            launch_key(model, entry, block)
            for model in self.models
            for entry in self._hopeful(model)
            if self._worth_it(model, entry)
        ]

    def _hopeful(self, model: Model) -> list[Entry]:
        """The engines whose parity is not disproved yet, and the A/A twin."""
        records = of_kind(self.steps.journal.records, "parity", model["name"])
        failed = {x["entry"]["label"] for x in records if not x["parity"]["engines"][0]["passed"]}
        entries = [entry for entry in self.entries if entry.label not in failed]
        return list(with_aa_pair(entries))


def launch_key(model: Model, entry: Entry, block: int) -> Key:
    """The key of a timed launch."""
    return ["launch", model["name"], entry.label, block]


def _answer(job: dict[str, Any], path: Path) -> Record:
    result = check_result(run_worker(job, ANSWERS_TIMEOUT_S), "The reference run")
    write_text(path, json.dumps(result["answers"]))
    return {}
