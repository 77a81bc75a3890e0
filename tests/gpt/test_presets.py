"""The table of presets says what the models are."""

from __future__ import annotations

import re

import pytest
import torch

from airust.gpt import presets
from airust.gpt.model import GPT

ROWS = dict(re.findall(r"^(\S+) +([\d.]+) M ", presets.__doc__ or "", flags=re.MULTILINE))


def test_the_table_lists_every_preset():
    assert list(ROWS) == list(presets.PRESETS)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_its_parameters_are_those_of_the_model(name: str):
    with torch.device("meta"):  # shapes without memory
        count = GPT(presets.preset(name).model).parameter_count()
    written = ROWS[name]
    decimals = len(written.partition(".")[2])
    assert f"{count / 1e6:.{decimals}f}" == written
