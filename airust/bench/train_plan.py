"""What ``airust bench train`` is asked for, checked before anything is measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

from airust.bench import host
from airust.bench.runner import AA_SUFFIX
from airust.bench.values import check_whole, command
from airust.gpt.presets import TrainConfig, preset
from airust.types import UserError

EXTENSIBLE = ("out", "launches", "budget_s")  # may change when a run is resumed
PRECISIONS = get_args(TrainConfig.__annotations__["precision"]) or ("auto", "float32", "bfloat16")
LEAST_STEPS = 6  # fewer show no warm-up


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to train a preset."""

    label: str
    threads: int
    precision: str


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """Presets, thread counts and how long to measure.

    Raises:
        UserError: a value is out of range.
    """

    out: str  # folder for raw.jsonl, results.json and summary.md
    presets: tuple[str, ...] = ("tiny",)
    threads: tuple[int, ...] = ()  # empty: 1, 2, 4, ... up to all cores
    precisions: tuple[str, ...] = ("auto",)
    steps: int = 30  # of a launch
    launches: int = 5  # processes a setting; the unit of every interval
    budget_s: float = 840.0  # after which no further block of launches begins
    model: str | None = None  # folder whose training curve and exam are shown beside it
    seed: int = 0  # of data, weights, order and resampling

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, LEAST_STEPS, None)
        check_whole("launches", self.launches, 1, None)
        check_whole("seed", self.seed, 0, None)
        for count in self.threads:
            check_whole("threads", count, 1, host.usable_cores())
        for precision in self.precisions:
            if precision not in PRECISIONS:
                known = ", ".join(PRECISIONS)
                raise UserError(f"precision is '{precision}' but must be one of: {known}.")
        if not self.presets or len(set(self.presets)) < len(self.presets):
            raise UserError("Name at least one preset, and none twice.")
        for name in self.presets:
            preset(name)
        if not self.budget_s >= 0:
            raise UserError(f"budget_s is {self.budget_s} but must be 0 or more seconds.")

    def settings(self) -> list[Setting]:
        """The ways to train, the baseline (fewest threads) first and again at the end (A/A)."""
        cores = host.usable_cores()
        powers = {1 << power for power in range(cores.bit_length()) if 1 << power <= cores}
        counts = sorted(set(self.threads) or powers | {cores})
        found = [
            Setting(_label(count, precision, len(self.precisions) > 1), count, precision)
            for precision in self.precisions
            for count in counts
        ]
        first = found[0]
        return [*found, Setting(first.label + AA_SUFFIX, first.threads, first.precision)]

    def fingerprint(self) -> dict[str, Any]:
        """What a resumed run must have in common with its beginning."""
        found = {name: value for name, value in asdict(self).items() if name not in EXTENSIBLE}
        return found | {"settings": [setting.label for setting in self.settings()]}

    def command(self) -> str:
        """The shell command that runs this plan."""
        return command("train", self, {"presets": "preset", "precisions": "precision"})


def _label(threads: int, precision: str, several: bool) -> str:
    words = "1 thread" if threads == 1 else f"{threads} threads"
    return f"{words}, {precision}" if several else words
