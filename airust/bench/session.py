"""One report from start to end: measure, keep, and write results.json after every stage.

The notebook calls the stages in order and shows what each leaves in ``results``. All engine work
happens in child processes; this process only gathers.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airust.bench import host
from airust.bench.child import check_result, run_worker
from airust.bench.learning import read_evaluation, read_others, read_training
from airust.bench.metrics import shares, summary, withheld
from airust.bench.parameters import Parameters
from airust.bench.parity_gate import gate, prove, read_entry
from airust.bench.progress import tell
from airust.bench.reference import read_references
from airust.bench.runner import Bench, RunSettings, with_aa_pair
from airust.bench.workload import make_workload
from airust.engines.registry import list_engines
from airust.gpt.checkpoint import write_json
from airust.gpt.tokenizer import Tokenizer
from airust.types import AirustError, UserError

SCHEMA = 1  # of results.json
MB = 1_000_000
REFERENCE_TIMEOUT_S = 300.0
CEILINGS_TIMEOUT_S = 120.0
RESULTS_FILE, LAUNCHES_FILE, PROGRESS_FILE = "results.json", "launches.jsonl", ".progress"
BASELINE = "torch"  # the engine that ratios refer to and that runs twice
ECHO = "dummy"  # computes no model: nothing to time


class Session:
    """The stages of a report. ``results`` holds everything that was found so far.

    Raises:
        UserError: a parameter does not fit the model or the machine; an engine is unknown.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.given, self.spec = parameters, parameters.spec()
        self.model, self.out = Path(parameters.model), Path(parameters.out)
        self.engines = choose_engines(parameters.engines)
        self.out.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, Any] = {
            "schema": SCHEMA,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": parameters.command(),
            "parameters": {
                **asdict(parameters),
                **self.spec.to_dict(),
                "engines": self.engines,
                "threads": parameters.cores,
            },
            "missing": missing_engines(),
        }

    def describe(self) -> dict[str, Any]:
        """Host, versions, model; training curve and evaluation where they are."""
        self.results |= {
            "host": host.describe_host(),
            "versions": host.versions(),
            "threads": host.thread_environment(self.given.cores),
            "model": host.describe_model(self.model),
            "training": read_training(self.model),
            "evaluation": read_evaluation(self.model),
            "compared": read_others(self.given.compare),
        }
        return self.save()

    def measure_ceilings(self) -> dict[str, Any]:
        """Memory bandwidth at the weights' size and beyond the caches, matrix rates."""
        self.tell("ceilings")
        size = self.results["model"]["parameters_read_per_token"]
        job = self._job("ceilings") | {"working_sets": [4 * size, 2 * size, 256 * MB]}
        result = check_result(run_worker(job, CEILINGS_TIMEOUT_S), "Measuring the ceilings")
        self.results["ceilings"] = result["ceilings"]
        return self.save()

    def prove_parity(self) -> dict[str, Any]:
        """Teacher-forced logprobs and greedy tokens of every engine against the reference."""
        self.tell("parity")
        job = self._job("parity") | {
            "prompts": self.given.parity_prompts,
            "new_tokens": self.given.parity_tokens,
            "progress": str(self.out / PROGRESS_FILE),
        }
        self.results["parity"] = prove(job, self.engines)
        return self.save()

    def run(self) -> dict[str, Any]:
        """Time every engine that passed, in interleaved launches."""
        self.results["entries"] = gate(self.results["parity"])
        passed = [record for record in self.results["entries"] if record["reason"] is None]
        entries = with_aa_pair([read_entry(record) for record in passed])
        twins = [passed[0] | {"label": entries[-1].label}] if passed else []
        self.results["entries"] += twins
        tokenizer = Tokenizer.load(self.model)
        self.tell("reference answers")
        workload = make_workload(tokenizer, self.spec)
        job = self._job("reference") | {"workload": workload.to_dict()}
        result = check_result(run_worker(job, REFERENCE_TIMEOUT_S), "The reference run")
        references = read_references(result["answers"])
        settings = RunSettings(
            self.given.launches, self.given.cores, self.given.seconds_per_launch, self.given.seed
        )
        bench = Bench(self.model, workload, references, tokenizer, settings)
        raw = self.out / LAUNCHES_FILE
        raw.unlink(missing_ok=True)
        self.results["workload_sha256"] = workload.sha256()
        self.results["launches"] = bench.run(
            entries, raw, lambda done, label: self.tell("timing", done, label)
        )
        return self.save()

    def summarise(self) -> dict[str, Any]:
        """Estimates, intervals, ratios, shares of the ceilings."""
        launches, streams = self.results["launches"], self.spec.streams
        for record in self.results["entries"]:
            if record["reason"] is None:
                record["reason"] = withheld(launches, record["label"])
                record |= _loaded_settings(launches, record["label"])
        labels = [r["label"] for r in self.results["entries"] if _was_timed(r, launches)]
        if all(record["reason"] for record in self.results["entries"]):
            self.save()
            reasons = (f"{r['label']}: {r['reason']}" for r in self.results["entries"])
            raise AirustError(f"No engine has figures: {'; '.join(reasons)}")
        found = summary(launches, labels, streams, self.given.seed)
        self.results["baseline"], self.results["summary"] = labels[0], found
        self.results["shares"] = shares(
            found,
            self.results["entries"],
            self.results["ceilings"],
            self.results["model"]["parameters_read_per_token"],
            streams,
        )
        return self.save()

    def tell(self, stage: str, done: float = 0.0, what: str = "") -> None:
        """Tell whoever watches how far we are."""
        tell(self.out / PROGRESS_FILE, stage, done, what)

    def save(self) -> dict[str, Any]:
        """Write results.json; a later failure leaves what was found so far."""
        write_json(self.out / RESULTS_FILE, self.results)
        return self.results

    def _job(self, kind: str) -> dict[str, Any]:
        return {"kind": kind, "model": str(self.model), "threads": self.given.cores}


def choose_engines(names: Sequence[str] | None) -> list[str]:
    """The named engines, or every installed one that loads a model; the baseline comes first.

    Engines that ask a server are measured only when they are named.

    Raises:
        UserError: an engine is unknown or not installed.
    """
    known = {engine.name: engine for engine in list_engines()}
    if names is None:
        here = [name for name, e in known.items() if e.available and not e.remote]
        return [name for name in here if name != ECHO]
    for name in names:
        if name not in known:
            raise UserError(f"There is no engine '{name}'; the engines are: {', '.join(known)}.")
        if not known[name].available:
            raise UserError(
                f"The engine '{name}' is not installed; install with: {known[name].install_hint}"
            )
    if not names or len(set(names)) < len(names):
        raise UserError("engines must be different names, and at least one.")
    return sorted(names, key=lambda name: name != BASELINE)


def missing_engines() -> list[dict[str, str]]:
    """Engines that are not installed and how to get them."""
    return [
        {"name": engine.name, "install": engine.install_hint}
        for engine in list_engines()
        if not engine.available and not engine.remote
    ]


def _was_timed(record: dict[str, Any], launches: Sequence[dict[str, Any]]) -> bool:
    return any(launch["label"] == record["label"] for launch in launches)


def _loaded_settings(launches: Sequence[dict[str, Any]], label: str) -> dict[str, Any]:
    """What the engine said it had loaded: dtype, threads and the like."""
    found = (launch.get("settings") for launch in launches if launch["label"] == label)
    settings: dict[str, Any] = next(filter(None, found), {})
    return {"settings": settings, "dtype": settings.get("dtype")}
