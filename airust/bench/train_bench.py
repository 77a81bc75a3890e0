"""Training, timed: the run behind ``airust bench train``.

Blocks of launches, each with every preset, number of threads and precision once, in random order,
the first one twice (A/A). A launch is a process of its own, pinned to as many cores as it has
threads, and trains the same data from the same weights; what it reaches must be the same loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from airust.bench import host
from airust.bench.contention import watched_worker
from airust.bench.journal import Key, Record
from airust.bench.learning import read_learning
from airust.bench.pace import Blocks, Status, Steps
from airust.bench.run_folder import (
    beginning,
    check_same,
    open_journal,
    plain,
    shuffled,
    write_results,
)
from airust.bench.train_plan import Setting, TrainPlan
from airust.bench.train_results import build_results
from airust.bench.train_tables import summary_page

LAUNCH_TIMEOUT_S = 900.0


class TrainBench:
    """A run in its folder.

    Raises:
        UserError: the folder holds another run and neither ``resume`` nor ``force`` is given.
    """

    def __init__(
        self,
        plan: TrainPlan,
        resume: bool = False,
        force: bool = False,
        tell: Callable[[Status], None] = lambda _: None,
    ) -> None:
        self.plan, self.out, self.settings = plan, Path(plan.out), plan.settings()
        fingerprint = plain(plan.fingerprint() | {"versions": host.versions()})
        self.steps = Steps(open_journal(self.out, resume, force), tell, self._left)
        about = {
            "settings": [asdict(setting) for setting in self.settings],
            "learning": None if plan.model is None else read_learning(Path(plan.model)),
        }
        start = self.steps.once(
            ["plan"], lambda: beginning(plan.command(), asdict(plan), fingerprint) | about
        )
        check_same(self.out, start["fingerprint"], fingerprint)

    def run(self) -> dict[str, Any]:
        """Do what is not done yet; results.json and summary.md are written however it ends."""
        try:
            reason = self._launch_blocks()
            self.steps.journal.add(["end"], {"reason": reason})
        finally:
            results = build_results(self.steps.journal.records)
            write_results(self.out, results, summary_page(results))
        return results

    def _launch_blocks(self) -> str:
        blocks = Blocks(self.steps, self.plan.launches, self.plan.budget_s, self._keys)
        for block in blocks:
            for preset in shuffled(self.plan.presets, f"{self.plan.seed} block {block}"):
                for setting in shuffled(self.settings, f"{self.plan.seed} block {block} {preset}"):
                    key: Key = ["launch", preset, setting.label, block]
                    self.steps.once(key, partial(self._launch, preset, setting, block))
        return blocks.reason

    def _launch(self, preset: str, setting: Setting, block: int) -> Record:
        job = {
            "kind": "train",
            "preset": preset,
            "precision": setting.precision,
            "steps": self.plan.steps,
            "seed": self.plan.seed,
            "threads": setting.threads,
        }
        result = watched_worker(job, LAUNCH_TIMEOUT_S)
        return {"label": setting.label, "block": block, **result}

    def _keys(self, block: int) -> list[Key]:
        return [
            ["launch", preset, setting.label, block]
            for preset in self.plan.presets
            for setting in self.settings
        ]

    def _left(self) -> float:
        return sum(self.steps.expected(self._keys(block)) for block in range(self.plan.launches))
