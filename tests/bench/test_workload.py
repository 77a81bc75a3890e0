"""Prompts of exact length that share nothing, and the plan of a launch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from airust.bench.workload import (
    HEADER_TOKENS,
    Workload,
    WorkloadSpec,
    default_spec,
    make_workload,
)
from airust.gpt.tokenizer import Tokenizer, character_tokenizer
from airust.types import Message, UserError

SPEC = WorkloadSpec(prompt_tokens=40, prefill_tokens=90, new_tokens=16, streams=(1, 3), repeats=2)


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> Tokenizer:
    return Tokenizer.load(model_dir)


@pytest.fixture(scope="module")
def workload(tokenizer: Tokenizer) -> Workload:
    return make_workload(tokenizer, SPEC)


def test_every_prompt_has_exactly_the_tokens_that_were_asked_for(
    workload: Workload, tokenizer: Tokenizer
) -> None:
    for step in workload.steps:
        wanted = SPEC.prefill_tokens if step.kind == "prefill" else SPEC.prompt_tokens
        for batch in step.batches:
            for number in batch.prompts:
                prompt = workload.prompts[number]
                chat = tokenizer.encode_chat([Message("user", prompt.text)])
                assert len(prompt.token_ids) == wanted
                assert prompt.token_ids == tuple(chat)


def test_no_prompt_is_used_twice_or_begins_like_another(workload: Workload) -> None:
    used = [n for step in workload.steps for batch in step.batches for n in batch.prompts]
    assert sorted(used) == list(range(len(workload.prompts)))
    openings = {prompt.token_ids[:HEADER_TOKENS] for prompt in workload.prompts}
    assert len(openings) == len(workload.prompts)


def test_the_plan_of_a_launch(workload: Workload) -> None:
    points = [(step.kind, step.streams) for step in workload.steps if step.warmup]
    assert points == [("ttft", 1), ("prefill", 1), ("decode", 1), ("decode", 3)]
    assert len(workload.steps) == len(points) * (SPEC.repeats + 1)
    for step in workload.steps:
        assert [len(batch.prompts) for batch in step.batches] == [step.streams] * len(step.batches)
        sizes = [batch.max_tokens for batch in step.batches]
        if step.kind != "decode":
            assert sizes == [1]
        else:
            assert sizes == ([4] if step.warmup else [4, 16] if step.streams == 1 else [16])


@pytest.mark.parametrize(
    ("new_tokens", "streams", "expected"),
    [
        (64, 1, (16, 64)),
        (64, 16, (16, 64)),
        (64, 64, (8, 32)),
        (64, 256, (4, 16)),
        (8, 999, (2, 8)),
    ],
)
def test_many_streams_get_shorter_answers(
    new_tokens: int, streams: int, expected: tuple[int, int]
) -> None:
    assert replace(SPEC, new_tokens=new_tokens).answer_tokens(streams) == expected


def test_an_outline_has_the_same_prompts_and_fewer_points(workload: Workload) -> None:
    def points(most: int) -> set[tuple[str, int]]:
        return {(step.kind, step.streams) for step in workload.outline(most).steps}

    assert workload.outline(3).prompts == workload.prompts
    assert points(3) == {("prefill", 1), ("decode", 1), ("decode", 3)}
    assert points(2) == points(0) == {("prefill", 1), ("decode", 1)}


def test_the_same_seed_gives_the_same_prompts(tokenizer: Tokenizer, workload: Workload) -> None:
    assert make_workload(tokenizer, SPEC) == workload
    assert make_workload(tokenizer, replace(SPEC, seed=1)).sha256() != workload.sha256()


def test_json_keeps_everything(workload: Workload) -> None:
    assert Workload.from_dict(json.loads(json.dumps(workload.to_dict()))) == workload


def test_a_character_tokenizer_works_too() -> None:
    spec = replace(SPEC, streams=(1,), repeats=1)
    workload = make_workload(character_tokenizer(["abc 水"]), spec)
    assert {len(prompt.token_ids) for prompt in workload.prompts} == {40, 90}


def test_a_prompt_shorter_than_the_chat_form_is_refused() -> None:
    spec = replace(SPEC, prompt_tokens=16)
    with pytest.raises(UserError, match="no chat prompt of exactly 16 tokens"):
        make_workload(character_tokenizer(["abc"]), spec)


def test_the_defaults_fit_the_context() -> None:
    assert default_spec(256).to_dict() == WorkloadSpec(64, 192, 32).to_dict()
    long = default_spec(4096)
    assert (long.prompt_tokens, long.prefill_tokens, long.new_tokens) == (64, 512, 32)
    short = default_spec(64)
    assert short.prompt_tokens + short.new_tokens <= 64 > short.prefill_tokens


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt_tokens": 15}, "prompt_tokens is 15"),
        ({"prefill_tokens": 2}, "prefill_tokens is 2"),
        ({"new_tokens": 7}, "new_tokens is 7"),
        ({"repeats": 0}, "repeats is 0"),
        ({"streams": ()}, "streams"),
        ({"streams": (1, 1)}, "streams"),
        ({"streams": (0,)}, "streams"),
        ({"prompt_tokens": 250}, "282 tokens do not fit into a context of 256"),
        ({"prefill_tokens": 256}, "257 tokens do not fit"),
    ],
)
def test_sizes_that_cannot_be_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        default_spec(256, **values)
