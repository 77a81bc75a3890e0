"""The reference answers that timed output is compared with.

They come from the same uncached float32 model as the parity check: it shares no code with any
engine, our own included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airust.bench.verify import Reference
from airust.bench.workload import Workload


def answer_workload(model: Path, workload: Workload) -> list[dict[str, Any]]:
    """Greedy tokens and margins for every prompt, as long as the longest answer asked for.

    Raises:
        UserError: the model cannot be read.
    """
    from airust.engines.parity import reference_answers
    from airust.gpt.checkpoint import load_model

    gpt = load_model(model)
    found: dict[int, dict[str, Any]] = {}
    for count, numbers in _by_length(workload).items():
        prompts = [list(workload.prompts[number].token_ids) for number in numbers]
        for number, answer in zip(numbers, reference_answers(gpt, prompts, count), strict=True):
            margins = [answer.margin(position) for position in range(count)]
            found[number] = {"token_ids": answer.tokens, "margins": margins}
    return [found[number] for number in range(len(workload.prompts))]


def answer_prompts(
    model: Path, prompts: Sequence[Sequence[int]], count: int
) -> list[dict[str, Any]]:
    """Greedy tokens and margins for each prompt of token ids.

    Raises:
        UserError: the model cannot be read.
    """
    from airust.engines.parity import reference_answers
    from airust.gpt.checkpoint import load_model

    answers = reference_answers(load_model(model), [list(p) for p in prompts], count)
    return [
        {"token_ids": answer.tokens, "margins": [answer.margin(i) for i in range(count)]}
        for answer in answers
    ]


def _by_length(workload: Workload) -> dict[int, list[int]]:
    """Length of the answer -> numbers of the prompts that need it."""
    groups: dict[int, list[int]] = defaultdict(list)
    for step in workload.steps:
        for batch in step.batches:
            groups[batch.max_tokens] += batch.prompts
    return groups


def read_references(answers: list[dict[str, Any]]) -> tuple[Reference, ...]:
    """The worker's JSON as values."""
    return tuple(Reference(tuple(a["token_ids"]), tuple(a["margins"])) for a in answers)
