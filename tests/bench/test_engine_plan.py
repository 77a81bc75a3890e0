"""What a run of engines can be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airust.bench.engine_plan import EnginePlan, installed_engines, read_streams
from airust.bench.parity_gate import tolerance
from airust.types import UserError


def _plan(model: Path, *engines: str, **changes: Any) -> EnginePlan:
    return EnginePlan((str(model),), "out", engines, **changes)


def test_what_does_not_fit_is_as_long_as_fits_and_said(model_dir: Path) -> None:
    plan = _plan(model_dir)
    spec = plan.spec(str(model_dir))
    assert (spec.prompt_tokens, spec.prefill_tokens, spec.new_tokens) == (24, 192, 64)
    (note,) = plan.notes(str(model_dir))
    assert note == ("prefill_tokens is 192: 512 do not fit beside the rest into a context of 256.")


def test_small_models_are_repeated_more_often(model_dir: Path) -> None:
    spec = _plan(model_dir).spec(str(model_dir))
    assert (spec.repeats, spec.batch_repeats) == (6, 3)
    spec = _plan(model_dir, repeats=1).spec(str(model_dir))
    assert (spec.repeats, spec.batch_repeats) == (1, 1)


def test_the_baseline_comes_first(model_dir: Path) -> None:
    def labels(*engines: str, baseline: str | None = None) -> list[str]:
        return [entry.label for entry in _plan(model_dir, *engines, baseline=baseline).entries()]

    assert labels("mistralrs", "torch") == ["torch", "mistralrs"]
    assert labels("mistralrs", "torch:dtype=bfloat16") == ["mistralrs", "torch:dtype=bfloat16"]
    assert labels("torch", "mistralrs", baseline="mistralrs") == ["mistralrs", "torch"]
    assert labels() == installed_engines()
    assert "dummy" not in labels()


def test_an_engine_may_come_twice_with_other_options(model_dir: Path) -> None:
    entries = _plan(model_dir, "torch", "torch:dtype=bfloat16,threads=1").entries()
    assert [entry.engine for entry in entries] == ["torch", "torch"]
    assert entries[1].options == {"dtype": "bfloat16", "threads": 1}


@pytest.mark.parametrize(
    ("engines", "changes", "message"),
    [
        (("gpt5",), {}, "There is no engine 'gpt5'; the engines are: dummy, torch"),
        (("torch:dtype",), {}, "must look like NAME:OPTION=VALUE"),
        (("torch", "torch"), {}, "must be different ones"),
        (("torch",), {"baseline": "mistralrs"}, "'mistralrs' is none of the engines: torch"),
        ((), {"launches": 0}, "launches is 0"),
        ((), {"cores": 10_000}, "cores is 10000"),
        ((), {"budget_s": -1.0}, "budget_s is -1.0 but must be 0 or more seconds"),
        ((), {"tune_s": float("nan")}, "tune_s is nan"),
    ],
)
def test_what_cannot_be_is_the_users_mistake(
    model_dir: Path, engines: tuple[str, ...], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _plan(model_dir, *engines, **changes).entries()


def test_models_are_told_apart_by_their_folders_names(model_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / model_dir.name
    for models in ((), (str(model_dir), str(other))):
        with pytest.raises(UserError, match="no two folders of the same name"):
            EnginePlan(models, "out")


def test_the_command_does_the_same_again() -> None:
    plan = EnginePlan(
        ("runs/tiny", "runs/random-qwen3-100m"), "reports/x y", ("torch", "mistralrs:threads=1"),
        streams=(1, 4), launches=3, budget_s=60.0,
    )  # fmt: skip
    assert plan.command() == (
        "airust bench engines --model runs/tiny --random qwen3-100m --engines "
        "torch,mistralrs:threads=1 --out 'reports/x y' --streams 1,4 --launches 3 --budget-s 60.0"
    )
    assert EnginePlan(("m",), "o").command() == "airust bench engines --model m --out o"


def test_streams_are_sorted_numbers() -> None:
    assert read_streams("64,1") == (1, 64)
    with pytest.raises(UserError, match="must be numbers with commas between"):
        read_streams("1,many")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 1e-3),
        ({"dtype": "float32", "threads": 1}, 1e-3),
        ({"dtype": "f32"}, 1e-3),
        ({"dtype": None}, 1e-3),
        ({"dtype": "bfloat16"}, 0.5),
        ({"quantize": "Q8_0"}, 0.5),
    ],
)
def test_rounded_weights_may_be_further_off(options: dict[str, object], expected: float) -> None:
    assert tolerance(options) == expected
