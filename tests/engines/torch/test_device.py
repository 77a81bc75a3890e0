"""Where the engine computes, and in which numbers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from airust.engines.registry import load_engine
from airust.engines.torch import device
from airust.gpt.precision import compute_dtype
from airust.types import UserError

LOGGER = "airust.engines.torch.device"


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(("wanted", "level"), [("cuda", "WARNING"), ("auto", "INFO")])
def test_without_a_gpu_the_cpu_and_a_logged_reason(
    wanted: str, level: str, model_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, logger=LOGGER),
        load_engine("torch", model_dir, device=wanted) as engine,
    ):
        assert engine.settings["device"] == "cpu"
        assert engine.settings["dtype"] == "float32"
    (record,) = caplog.records
    assert record.levelname == level
    assert record.getMessage().startswith("The engine 'torch' runs on the CPU: ")


def test_the_cpu_by_wish_needs_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=LOGGER):
        assert device.choose_device("cpu") == "cpu"
    assert not caplog.records


def test_with_a_gpu_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose_device("auto") == device.choose_device("cuda") == "cuda"
    assert device.choose_device("cpu") == "cpu"
    assert device.choose_dtype(None, "cuda") == torch.bfloat16
    assert device.choose_dtype("float32", "cuda") == torch.float32


def test_the_fastest_numbers_are_measured() -> None:
    assert device.choose_dtype("auto", "cpu") == compute_dtype("cpu")


@pytest.mark.parametrize(("option", "value"), [("device", "tpu"), ("dtype", "int4")])
def test_what_is_unknown_is_refused(option: str, value: str, model_dir: Path) -> None:
    with pytest.raises(UserError, match=f"{option} is '{value}' but must be one of: auto"):
        load_engine("torch", model_dir, **{option: value})
