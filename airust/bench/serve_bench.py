"""Servers under load: the run behind ``airust bench serve``.

    answers     what the answers are compared with, where there is a model folder
    launch      blocks: every server and the A/A twin once, in random order; within a launch all
                points, in random order
    agreement   the first server by guidellm as well, if asked for

Each step is a record in ``raw.jsonl``, with the times of every token of every request.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from airust.bench import host
from airust.bench.child import check_result, run_worker
from airust.bench.contention import watched_worker
from airust.bench.engine_bench import ANSWERS_TIMEOUT_S
from airust.bench.guidellm import measure_both
from airust.bench.journal import Key, Record
from airust.bench.pace import Blocks, Status, Steps
from airust.bench.run_folder import (
    SCRATCH,
    beginning,
    check_same,
    open_journal,
    plain,
    shuffled,
    write_results,
)
from airust.bench.serve_load import Point
from airust.bench.serve_plan import ServePlan, Server
from airust.bench.serve_results import build_results
from airust.bench.serve_tables import summary_page
from airust.bench.serve_traffic import Session, Turn, make_sessions, sha256, to_json
from airust.bench.verify import Check, Reference, check_answer
from airust.bench.workload import Prompt
from airust.files import write_text
from airust.gpt.tokenizer import Tokenizer

ANSWERS_FILE = "answers.json"
LAUNCH_TIMEOUT_S = 900.0
DIGITS = 6  # of seconds that are kept


class ServeBench:
    """A run in its folder.

    Raises:
        UserError: the plan does not fit the machine or the model, or the folder holds another
            run and neither ``resume`` nor ``force`` is given.
    """

    def __init__(
        self,
        plan: ServePlan,
        resume: bool = False,
        force: bool = False,
        tell: Callable[[Status], None] = lambda _: None,
    ) -> None:
        self.plan, self.out, self.servers = plan, Path(plan.out), plan.servers()
        model = None if plan.model is None else host.describe_model(Path(plan.model))
        weights = None if model is None else model["weights_sha256"]
        fingerprint = plain(plan.fingerprint() | {"weights": weights, "versions": host.versions()})
        asked = self.sessions  # what does not fit is refused before anything is written
        self.steps = Steps(open_journal(self.out, resume, force), tell, self._left)
        parameters = asdict(plan) | {"cores": plan.used_cores}
        start = self.steps.once(
            ["plan"],
            lambda: (
                beginning(plan.command(), parameters, fingerprint)
                | {
                    "model": model,
                    "servers": [asdict(server) for server in self.servers],
                    "points": [
                        asdict(p) | {"key": p.key, "sessions": plan.sessions(p)}
                        for p in plan.points()
                    ],
                    "sessions": to_json(asked),
                    "sessions_sha256": sha256(asked),
                }
            ),
        )
        check_same(self.out, start["fingerprint"], fingerprint)

    def run(self) -> dict[str, Any]:
        """Do what is not done yet; results.json and summary.md are written however it ends."""
        try:
            reason = self._launch_blocks()
            if self.plan.guidellm:
                self.steps.once(["agreement", self.servers[0].label], self._agreement)
            self.steps.journal.add(["end"], {"reason": reason})
            shutil.rmtree(self.out / SCRATCH, ignore_errors=True)
        finally:
            results = build_results(self.steps.journal.records)
            write_results(self.out, results, summary_page(results))
        return results

    # What is asked

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """Of the model folder."""
        return None if self.plan.model is None else Tokenizer.load(Path(self.plan.model))

    @cached_property
    def sessions(self) -> tuple[Session, ...]:
        """Of all points and blocks; a server of somebody else is never asked the same twice."""
        strangers = sum(server.kind == "url" for server in self.servers)
        count = self.plan.launches * (1 + strangers) * self._a_block
        return make_sessions(self.plan.spec(), count, self.tokenizer, self.plan.context)

    @cached_property
    def _a_block(self) -> int:
        return 1 + sum(map(self.plan.sessions, self.plan.points()))  # one of them for the warm-up

    def _share(self, server: Server, block: int) -> dict[str, range]:
        """Point -> numbers of its sessions in this launch, without the one for the warm-up."""
        strangers = [s.label for s in self.servers if s.kind == "url"]
        place = strangers.index(server.label) + 1 if server.label in strangers else 0
        start = (place * self.plan.launches + block) * self._a_block + 1
        found = {}
        for point in self.plan.points():
            found[point.key] = range(start, start + self.plan.sessions(point))
            start = found[point.key].stop
        return found

    # The timed launches

    def _launch_blocks(self) -> str:
        blocks = Blocks(self.steps, self.plan.launches, self.plan.budget_s, self._keys)
        for block in blocks:
            for server in shuffled(self.servers, f"{self.plan.seed} block {block}"):
                if self.steps.journal.find(["launch", server.label, block]) is None:
                    self._answers()  # made before the clock of the launch starts
                self.steps.once(
                    ["launch", server.label, block], partial(self._launch, server, block)
                )
        return blocks.reason

    def _launch(self, server: Server, block: int) -> Record:
        share = self._share(server, block)
        points = shuffled(self.plan.points(), f"{self.plan.seed} {server.label} {block}")
        result = watched_worker(self._job(server, block, share, points), LAUNCH_TIMEOUT_S)
        for key, point in result.get("points", {}).items():
            for asked in point["requests"]:
                self._judge(server, share[key].start + asked["session"], asked)
        return {"label": server.label, "block": block, **result}

    def _job(
        self, server: Server, block: int, share: dict[str, range], points: Sequence[Point]
    ) -> dict[str, Any]:
        first = share[self.plan.points()[0].key].start - 1
        asked = []
        for number, point in enumerate(points):
            chosen = [self.sessions[i] for i in share[point.key]]
            chosen = [self.sessions[first], *chosen] if number == 0 else chosen
            asked.append(asdict(point) | {"sessions": to_json(chosen)})
        return {
            "kind": "serve",
            "server": asdict(server),
            "served_as": self.plan.served_as,
            "model": self.plan.model,
            "threads": self.plan.used_cores,
            "pool": None,
            "points": asked,
            "stall_s": self.plan.stall_s,
            "seed": f"{self.plan.seed} {block} ",
        }

    # Is it right?

    def _judge(self, server: Server, number: int, asked: dict[str, Any]) -> None:
        """Say of a request whether its answer is right; ``number`` is its session's."""
        turn = self.sessions[number][asked["turn"]]
        check = self._check(server, turn, self._answers().get(f"{number} {asked['turn']}"), asked)
        asked |= {
            "session": number, "status": check.status, "detail": check.detail,
            "right": check.status in ("exact", "tied", "unverified"),
            "arrivals_s": [round(t, DIGITS) for t in asked["arrivals_s"]],
        }  # fmt: skip
        asked.pop("text")

    def _check(
        self, server: Server, turn: Turn, reference: Reference | None, asked: dict[str, Any]
    ) -> Check:
        if asked["error"]:
            return Check("failed", asked["error"])
        told = [token for token in asked["token_ids"] if token is not None]
        if told and len(told) != asked["tokens"]:
            return Check("wrong", f"it claims {asked['tokens']} tokens and gave {len(told)}")
        if asked["tokens"] and not asked["arrivals_s"]:
            return Check("wrong", f"it claims {asked['tokens']} tokens and gave none")
        if reference is None or self.tokenizer is None or turn.token_ids is None:
            if turn.token_ids is not None and asked["tokens"] != turn.max_tokens:
                return Check("wrong", f"it gave {asked['tokens']} tokens, not {turn.max_tokens}")
            return Check("unverified")
        prompt = Prompt("", turn.token_ids)
        return check_answer(
            asked | {"wanted_tokens": turn.max_tokens}, prompt, reference, self.tokenizer,
            self.plan.tie(server), shared=self.plan.traffic != "fixed",
        )  # fmt: skip

    def _answers(self) -> dict[str, Reference]:
        """Session and turn -> reference, of those that are verified."""
        if not hasattr(self, "_known"):
            self._known = self._read_answers()
        return self._known

    def _read_answers(self) -> dict[str, Reference]:
        if self.plan.model is None or self.plan.verified == 0:
            return {}
        path = self.out / SCRATCH / ANSWERS_FILE
        if not path.is_file():
            self.steps.do(["answers", "all"], partial(self._make_answers, path))
        found = json.loads(path.read_text("utf-8"))
        return {
            key: Reference(tuple(a["token_ids"]), tuple(a["margins"])) for key, a in found.items()
        }

    def _make_answers(self, path: Path) -> Record:
        turns = {f"{i} {j}": turn for share in self._shares() for i, j, turn in self._spread(share)}
        job = {
            "kind": "continue",
            "model": self.plan.model,
            "threads": self.plan.used_cores,
            "prompts": [turn.token_ids for turn in turns.values()],
            "count": self.plan.new_tokens,
        }
        result = check_result(run_worker(job, ANSWERS_TIMEOUT_S), "The reference run")
        path.parent.mkdir(exist_ok=True)
        write_text(path, json.dumps(dict(zip(turns, result["answers"], strict=True))))
        return {"verified": len(turns)}

    def _shares(self) -> list[list[int]]:
        """The sessions of each launch, those that several servers are asked once."""
        found = {
            tuple(i for numbers in self._share(server, block).values() for i in numbers)
            for server in self.servers
            for block in range(self.plan.launches)
        }
        return [list(share) for share in sorted(found)]

    def _spread(self, share: Sequence[int]) -> list[tuple[int, int, Turn]]:
        """As many of a launch's turns as are verified, spread over all of them."""
        turns = [(i, j, turn) for i in share for j, turn in enumerate(self.sessions[i])]
        count = min(self.plan.verified, len(turns))
        return [turns[k * len(turns) // count] for k in range(count)]

    # Others

    def _agreement(self) -> Record:
        return measure_both(self.plan, self.servers[0])

    def _keys(self, block: int) -> list[Key]:
        return [["launch", server.label, block] for server in self.servers]

    def _left(self) -> float:
        keys: list[Key] = [["answers", "all"]] if self.plan.model else []
        keys += [["agreement", self.servers[0].label]] if self.plan.guidellm else []
        blocks = [self.steps.expected(self._keys(block)) for block in range(self.plan.launches)]
        return self.steps.expected(keys) + sum(blocks)
