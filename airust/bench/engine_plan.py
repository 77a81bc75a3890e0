"""What ``airust bench engines`` is asked for, checked before anything is measured."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airust.bench import host
from airust.bench.random_model import random_name
from airust.bench.runner import Entry
from airust.bench.values import check_whole
from airust.bench.workload import WorkloadSpec, default_spec
from airust.engines.registry import list_engines, parse_spec
from airust.gpt.checkpoint import read_config, weight_files
from airust.types import UserError

DUMMY = "dummy"  # computes no model: nothing to time
OPTIONAL = "?"  # behind a spec: left out where it is not installed
SERVER_CLIENT = "openai"
PREFERRED = "torch"  # the baseline where none is named
EXTENSIBLE = ("out", "launches", "budget_s")  # may change when a run is resumed
SMALL_BYTES = 100_000_000  # of weights; below, a repeat is short and its time uncertain


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """Models, engines and how long to measure.

    Raises:
        UserError: a value is out of range.
    """

    models: tuple[str, ...]  # folders
    out: str  # folder for raw.jsonl, results.json and summary.md
    engines: tuple[str, ...] = ()  # NAME or NAME:OPTION=VALUE,...; empty: all that are installed;
    # one with "?" at its end is left out where it is not installed
    baseline: str | None = None  # the engine that ratios refer to, as it stands in engines
    streams: tuple[int, ...] = (1, 16, 64)  # requests at once
    prefill_tokens: int = 512  # of a long prompt; less where the context is shorter
    prompt_tokens: int = 24  # of all other prompts; the same
    new_tokens: int = 64  # of an answer; the same, and many streams get fewer
    launches: int = 5  # processes an engine and model; the unit of every interval
    repeats: int | None = None  # of one stream in a launch, half for more; None: 6, or 2 if large
    launch_s: float = 10.0  # after which a launch leaves out further repeats
    budget_s: float = 840.0  # after which no further block of launches begins
    tune_s: float = 150.0  # after which no further round of the thread sweep begins; 0: no sweep
    cores: int | None = None  # of every engine; None: all that may be used
    parity_prompts: int = 4  # before timing; the timed answers are all compared as well
    parity_tokens: int = 16  # after each of them
    text: str | None = None  # file whose perplexity is measured; None: held-out statements
    text_tokens: int = 256  # of it; 0: none
    compare: tuple[str, ...] = ()  # folders whose eval.json is shown beside the first model's
    exam_questions: int = 40  # that every engine answers, if the model had an exam; 0: none
    seed: int = 0  # of prompts, order and resampling

    def __post_init__(self) -> None:
        for name in ("launches", "repeats", "parity_prompts", "parity_tokens"):
            check_whole(name, getattr(self, name), 1, None)
        for name in ("seed", "text_tokens", "exam_questions"):
            check_whole(name, getattr(self, name), 0, None)
        if self.text is not None and not Path(self.text).is_file():
            raise UserError(f"There is no text file '{self.text}'.")
        check_whole("cores", self.cores, 1, host.usable_cores())
        for name in ("launch_s", "budget_s", "tune_s"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} is {getattr(self, name)} but must be 0 or more seconds.")
        names = [Path(model).resolve().name for model in self.models]
        if not names or len(set(names)) < len(names):
            raise UserError("Name at least one model, and no two folders of the same name.")

    @property
    def used_cores(self) -> int:
        """Cores that every engine runs on."""
        return self.cores or host.usable_cores()

    def spec(self, model: str) -> WorkloadSpec:
        """The sizes for one model: what was asked for, as far as its context reaches.

        Raises:
            UserError: there is no model.
        """
        context = read_config(Path(model)).context
        size = sum(path.stat().st_size for path in weight_files(Path(model)))
        repeats = self.repeats or (6 if size < SMALL_BYTES else 2)
        return default_spec(
            context,
            prompt_tokens=min(self.prompt_tokens, context // 4),
            prefill_tokens=min(self.prefill_tokens, context * 3 // 4),
            new_tokens=min(self.new_tokens, context // 4),
            streams=self.streams,
            repeats=repeats,
            batch_repeats=(repeats + 1) // 2,
            seed=self.seed,
        )

    def notes(self, model: str) -> list[str]:
        """What differs from the wish, in sentences."""
        spec, context = self.spec(model), read_config(Path(model)).context
        return [
            f"{name} is {getattr(spec, name)}: {getattr(self, name)} do not fit beside the rest "
            f"into a context of {context}."
            for name in ("prompt_tokens", "prefill_tokens", "new_tokens")
            if getattr(spec, name) < getattr(self, name)
        ]

    def entries(self) -> list[Entry]:
        """The engines as labelled entries, the baseline first.

        Raises:
            UserError: an engine is unknown, not installed, or named twice.
        """
        labels = [label for label in map(wanted, self.engines) if label]
        labels = labels if self.engines else installed_engines()
        entries = [read_spec(label) for label in labels]
        if len({entry.label for entry in entries}) < len(entries):
            raise UserError("The engines must be different ones.")
        first = self.baseline or next((x for x in labels if x == PREFERRED), labels[0])
        if first not in labels:
            raise UserError(f"The baseline '{first}' is none of the engines: {', '.join(labels)}.")
        return sorted(entries, key=lambda entry: entry.label != first)

    def fingerprint(self) -> dict[str, Any]:
        """What a resumed run must have in common with its beginning."""
        found = {name: value for name, value in asdict(self).items() if name not in EXTENSIBLE}
        return found | {"engines": [entry.label for entry in self.entries()]}

    def command(self) -> str:
        """The shell command that runs this plan."""
        words = ["airust", "bench", "engines"]
        for model in self.models:
            name = random_name(model)
            words += ["--random", name] if name else ["--model", model]
        words += ["--engines", ",".join(self.engines)] if self.engines else []
        words += ["--out", self.out]
        for name in COMMAND_OPTIONS:
            value, default = getattr(self, name), EnginePlan.__dataclass_fields__[name].default
            if value != default:
                text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
                words += [COMMAND_OPTIONS[name], text]
        return shlex.join(words)


COMMAND_OPTIONS = {
    "baseline": "--baseline",
    "streams": "--streams",
    "prefill_tokens": "--prefill",
    "prompt_tokens": "--prompt",
    "new_tokens": "--new-tokens",
    "launches": "--launches",
    "repeats": "--repeats",
    "launch_s": "--launch-s",
    "budget_s": "--budget-s",
    "tune_s": "--tune-s",
    "cores": "--cores",
    "text": "--text",
    "text_tokens": "--text-tokens",
    "exam_questions": "--exam-questions",
    "seed": "--seed",
}


def installed_engines() -> list[str]:
    """Every engine here that loads a model itself; a server has to be named.

    Raises:
        UserError: there is none.
    """
    here = [engine for engine in list_engines() if engine.available and not engine.remote]
    found = [engine.name for engine in here if engine.name != DUMMY]
    if not found:
        raise UserError("No engine is installed; `airust engines` tells how to get one.")
    return found


def wanted(spec: str) -> str | None:
    """A spec without its question mark; None where it has one and the engine is not installed."""
    label = spec.removesuffix(OPTIONAL)
    if label == spec:
        return label
    name, options = parse_spec(label)
    parts = [name, *([parse_spec(str(options["serve"]))[0]] if "serve" in options else [])]
    here = {engine.name for engine in list_engines() if engine.available}
    return label if set(parts) <= here else None


def missing_engines(specs: Sequence[str]) -> list[dict[str, str]]:
    """Engines that are not here and how to get them: the optional ones of a plan, or all."""
    if not specs:
        here = [e for e in list_engines() if not e.available and not e.remote]
        return [{"name": e.name, "install": e.install_hint} for e in here]
    hints = {engine.name: engine.install_hint for engine in list_engines()}
    gone = [spec.removesuffix(OPTIONAL) for spec in specs if wanted(spec) is None]
    return [{"name": label, "install": hints.get(parse_spec(label)[0], "")} for label in gone]


def read_spec(text: str) -> Entry:
    """An entry from NAME or NAME:OPTION=VALUE,...; openai:serve=ENGINE asks a server of our own.

    Raises:
        UserError: the engine is unknown or not installed, or the text has another form.
    """
    name, options = parse_spec(text)
    check_installed(name)
    serve = options.pop("serve", None)
    if serve is None:
        return Entry(text, name, options)
    if name != SERVER_CLIENT or not isinstance(serve, str):
        raise UserError(f"'{text}': only {SERVER_CLIENT}:serve=ENGINE puts an engine behind HTTP.")
    check_installed(parse_spec(serve)[0])
    return Entry(text, name, options, serve=serve)


def check_installed(name: str) -> None:
    """Refuse an engine that cannot be timed here.

    Raises:
        UserError: it is unknown or not installed.
    """
    known = {engine.name: engine for engine in list_engines()}
    if name not in known:
        raise UserError(f"There is no engine '{name}'; the engines are: {', '.join(known)}.")
    if not known[name].available:
        raise UserError(
            f"The engine '{name}' is not installed; install with: {known[name].install_hint}"
        )


def read_streams(text: str) -> tuple[int, ...]:
    """Numbers with commas between.

    >>> read_streams("1, 16,64")
    (1, 16, 64)

    Raises:
        UserError: one is not a number.
    """
    try:
        return tuple(sorted(int(part) for part in text.split(",")))
    except ValueError as error:
        raise UserError(f"'{text}' must be numbers with commas between, as in 1,16,64.") from error
