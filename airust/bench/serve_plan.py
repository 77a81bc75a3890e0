"""What ``airust bench serve`` is asked for, checked before anything is measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from airust.bench import host
from airust.bench.engine_plan import check_installed
from airust.bench.parity_gate import EXACT, tolerance
from airust.bench.runner import AA_SUFFIX
from airust.bench.serve_load import Point
from airust.bench.serve_metrics import Targets
from airust.bench.serve_traffic import TrafficKind, TrafficSpec
from airust.bench.values import check_whole, command
from airust.engines.registry import parse_spec
from airust.gpt.checkpoint import read_config
from airust.types import UserError

EXTENSIBLE = ("out", "launches", "budget_s")  # may change when a run is resumed
PER_STREAM = 2  # sessions of a point are at least so many times its concurrency


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers.

    ``own``: `airust serve` with an engine, a new process every launch. ``url``: a server that
    somebody else runs; only the order of blocks is ours. ``engine``: in our process, without HTTP.
    """

    label: str
    kind: Literal["own", "url", "engine"]
    where: str  # an engine's spec, or an address

    @property
    def twin(self) -> bool:
        """It is another one under a second name."""
        return self.label.endswith(AA_SUFFIX)


@dataclass(frozen=True, slots=True)
class ServePlan:
    """Servers, what they are asked, and how.

    Raises:
        UserError: a value is out of range.
    """

    out: str  # folder for raw.jsonl, results.json and summary.md
    model: str | None = None  # folder of the weights that are served; None: nothing is verified
    serve: tuple[str, ...] = ()  # engines behind a server of our own
    url: tuple[str, ...] = ()  # [NAME=]ADDRESS of other servers
    engines: tuple[str, ...] = ()  # in process, without HTTP
    served_as: str | None = None  # the model's name at the addresses, if they have several
    traffic: TrafficKind = "fixed"
    concurrency: tuple[int, ...] = (1, 4, 16)  # closed loop
    rates: tuple[float, ...] = ()  # Poisson arrivals, sessions/s
    requests: int = 32  # sessions a point, and at least twice its concurrency
    prompt_tokens: int = 64
    new_tokens: int = 32
    prefix_tokens: int = 128  # of traffic "prefix"
    turns: int = 4  # of traffic "chat"
    launches: int = 3  # blocks; the unit of every interval
    budget_s: float = 840.0  # after which no further block begins
    stall_s: float = 30.0  # silence after which a server has stalled
    ttft_s: float | None = 0.5  # limits of goodput; None: none
    tpot_s: float | None = 0.1
    e2e_s: float | None = None
    verified: int = 64  # requests a launch that are compared with the reference
    tolerance: float | None = None  # of a logprob at other servers; None: as in float32
    cores: int | None = None  # of each own server and its client together; None: all
    guidellm: str | None = None  # its executable: measures the first server as well
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("requests", "launches", "verified"):
            check_whole(name, getattr(self, name), 0 if name == "verified" else 1, None)
        check_whole("seed", self.seed, 0, None)
        check_whole("cores", self.cores, 1, host.usable_cores())
        if not self.servers():
            raise UserError("Name a server: --serve ENGINE, --url ADDRESS or --engine ENGINE.")
        if self.model is None and (self.serve or self.engines):
            raise UserError("Say with --model what our own engines should load.")
        if not self.points():
            raise UserError("Say how to ask: --concurrency, --rates or both.")
        if not all(
            value > 0 and math.isfinite(value) for value in (*self.concurrency, *self.rates)
        ):
            raise UserError("Concurrencies and rates must be above 0.")
        if not (self.budget_s >= 0 and self.stall_s > 0):
            raise UserError("budget_s must be 0 or more seconds, stall_s above 0.")
        self.spec(), self.limits()

    def servers(self) -> list[Server]:
        """Everything that is measured, and the first one a second time.

        Raises:
            UserError: an engine is unknown, or two have the same label.
        """
        for spec in (*self.serve, *self.engines):
            check_installed(parse_spec(spec)[0])
        found = [Server(spec, "own", spec) for spec in self.serve]
        for number, text in enumerate(self.url):
            name, equals, address = text.partition("=")
            named = bool(equals) and "://" not in name
            label = name if named else "server" if len(self.url) == 1 else f"server {number + 1}"
            found.append(Server(label, "url", address if named else text))
        found += [Server(f"{spec} in process", "engine", spec) for spec in self.engines]
        if len({server.label for server in found}) < len(found):
            raise UserError("The servers must have different names; NAME=ADDRESS gives one.")
        twins = [Server(found[0].label + AA_SUFFIX, found[0].kind, found[0].where)] if found else []
        return found + twins

    def points(self) -> list[Point]:
        """How sessions arrive, one after another."""
        return [
            *(Point("concurrency", value) for value in self.concurrency),
            *(Point("rate", value) for value in self.rates),
        ]

    def sessions(self, point: Point) -> int:
        """How many a point has."""
        least = PER_STREAM * int(point.value) if point.kind == "concurrency" else 0
        return max(self.requests, least)

    def spec(self) -> TrafficSpec:
        """What is asked."""
        return TrafficSpec(
            self.traffic,
            self.prompt_tokens,
            self.new_tokens,
            self.prefix_tokens,
            self.turns,
            self.seed,
        )

    def limits(self) -> Targets:
        """What counts as good."""
        return Targets(self.ttft_s, self.tpot_s, self.e2e_s)

    def tie(self, server: Server) -> float:
        """The margin up to which leaving the reference is a tie."""
        if server.kind == "url":
            return 2 * (EXACT if self.tolerance is None else self.tolerance)
        return 2 * tolerance(parse_spec(server.where)[1])

    @property
    def context(self) -> int | None:
        """Of the model, where there is a folder."""
        return None if self.model is None else read_config(Path(self.model)).context

    @property
    def used_cores(self) -> int:
        """Cores of a launch."""
        return self.cores or host.usable_cores()

    def fingerprint(self) -> dict[str, Any]:
        """What a resumed run must have in common with its beginning."""
        return {name: value for name, value in asdict(self).items() if name not in EXTENSIBLE}

    def command(self) -> str:
        """The shell command that runs this plan."""
        return command("serve", self, {"engines": "engine"})
