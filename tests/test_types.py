"""Values that every engine refuses alike, because they cannot even be written down."""

from __future__ import annotations

import math
from typing import Any

import pytest

from airust.types import Message, Request, SamplingParams, UserError

BAD: list[tuple[str, Any]] = [
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("temperature", -0.1),
    ("temperature", math.nan),
    ("temperature", math.inf),
    ("top_k", -1),
    ("top_p", 0.0),
    ("top_p", 1.1),
    ("top_p", math.nan),
    ("min_p", -0.1),
    ("min_p", 1.0),
    ("min_p", math.nan),
    ("repetition_penalty", 0.0),
    ("repetition_penalty", math.nan),
    ("repetition_penalty", math.inf),
    ("presence_penalty", 2.1),
    ("presence_penalty", math.nan),
    ("frequency_penalty", -2.1),
    ("frequency_penalty", math.nan),
    ("logit_bias", ((3, 101.0),)),
    ("logit_bias", ((3, math.nan),)),
    ("logprobs", -1),
    ("stop", ("",)),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_parameters_are_refused_by_name_and_value(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"^{name} is .* but must be .*\.$"):
        SamplingParams(**{name: value})


def test_a_schema_and_a_regular_expression_exclude_each_other() -> None:
    with pytest.raises(UserError, match="exclude each other"):
        SamplingParams(json_schema="{}", regex="a")


@pytest.mark.parametrize("grammar", [{"json_schema": "{}"}, {"regex": ""}])
def test_a_grammar_and_ignore_eos_exclude_each_other(grammar: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="ignore_eos would go on"):
        SamplingParams(ignore_eos=True, **grammar)


def test_an_unknown_way_with_long_prompts_is_refused() -> None:
    with pytest.raises(UserError, match="overflow is 'cut' but must be refuse or trim"):
        Request(prompt="hi", overflow="cut")  # type: ignore[arg-type]


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(UserError, match="'wizard' is unknown; the roles are: system, user"):
        Message("wizard", "hi")  # type: ignore[arg-type]


@pytest.mark.parametrize("request_", [{"messages": ()}, {"prompt": ""}, {"token_ids": ()}, {}])
def test_an_empty_request_is_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="needs"):
        Request(**request_)
