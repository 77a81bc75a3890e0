"""What a report can be asked for: the parameters of its notebook, checked."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from airust.bench import host
from airust.bench.values import check_whole
from airust.bench.workload import WorkloadSpec, default_spec
from airust.gpt.checkpoint import read_config
from airust.types import UserError


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the notebook's parameters cell sets; the same names, the same defaults."""

    model: str  # model folder
    out: str  # folder for results.json, launches.jsonl and figures
    engines: tuple[str, ...] | None = None  # None: every engine that is installed
    launches: int = 3  # processes an engine; the unit of every interval
    streams: tuple[int, ...] = (1, 4, 16)  # requests at once
    prompt_tokens: int | None = None  # None: 64, or a quarter of the context
    prefill_tokens: int | None = None  # None: 512, or three quarters of the context
    new_tokens: int | None = None  # None: 32, or a quarter of the context
    repeats: int = 5  # of each measurement within a launch, after one warm-up
    threads: int | None = None  # cores of every engine; None: all that may be used
    seconds_per_launch: float = 6.0  # after which a launch leaves out further repeats
    parity_prompts: int | None = None  # None: all built-in ones
    parity_tokens: int = 64  # after each prompt
    seed: int = 0  # of prompts, order and resampling
    compare: tuple[str, ...] = ()  # folders whose eval.json is shown beside the model's

    def __post_init__(self) -> None:
        for name in ("engines", "streams", "compare"):
            value = getattr(self, name)
            if value is not None:
                if not isinstance(value, list | tuple):
                    raise UserError(f"{name} is {value!r} but must be a list, such as [...].")
                object.__setattr__(self, name, tuple(value))
        if not all(isinstance(folder, str) for folder in self.compare):
            raise UserError(f"compare is {list(self.compare)} but must be a list of folders.")
        cores = host.usable_cores()
        for name, least, most in (
            ("launches", 1, None),
            ("repeats", 1, None),
            ("threads", 1, cores),
            ("parity_prompts", 1, None),
            ("parity_tokens", 1, None),
            ("seed", 0, None),
        ):
            check_whole(name, getattr(self, name), least, most)
        if not self.seconds_per_launch > 0:
            raise UserError(f"seconds_per_launch is {self.seconds_per_launch} but must be above 0.")

    @property
    def cores(self) -> int:
        """Cores and thread-pool size of every engine."""
        return self.threads or host.usable_cores()

    def spec(self) -> WorkloadSpec:
        """The workload, fitted to the model's context.

        Raises:
            UserError: there is no model, or a size does not fit it.
        """
        return default_spec(
            read_config(Path(self.model)).context,
            prompt_tokens=self.prompt_tokens,
            prefill_tokens=self.prefill_tokens,
            new_tokens=self.new_tokens,
            streams=self.streams,
            repeats=self.repeats,
            seed=self.seed,
        )

    def command(self) -> str:
        """The shell command that makes this report again."""
        words = ["airust", "report", "--model", self.model, "--out", self.out]
        if self.engines:
            words += ["--engines", ",".join(self.engines)]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("model", "out", "engines") and value != field.default:
                words += ["--set", f"{field.name}={json.dumps(value, separators=(',', ':'))}"]
        return shlex.join(words)
