"""How a sweep decides, on made-up rates."""

from __future__ import annotations

from typing import Any

import pytest

from airust.bench import tuning
from airust.bench.runner import Entry
from airust.bench.tuning import KNOBS, candidates, fitted, quiet_launches, with_threads
from airust.engines.registry import list_engines, load_engine
from airust.types import UserError


def judge(launches: list[dict[str, Any]]) -> dict[str, Any]:
    return tuning.judge(launches, quiet_launches(launches))


def _launch(threads: int | None, decode: float, prefill: float = 100.0) -> dict[str, Any]:
    values = {"decode_1": [decode] * 3, "prefill": [prefill], "load": [9.0], "streamed_1": [1.0]}
    return _calibrated({"candidate": threads, "error": None, "values": values})


def _calibrated(launch: dict[str, Any], seconds: float = 0.005) -> dict[str, Any]:
    """A launch on a machine that takes so long for the kernels."""
    times = [{"compute_s": seconds, "memory_s": seconds}] * 2
    return launch | {"calibration": times, "steal_share": 0.0, "others_share": 0.0}


def _failed(threads: int | None) -> dict[str, Any]:
    return _calibrated({"candidate": threads, "error": "no result within 9 s", "values": {}})


def test_the_fastest_count_is_chosen() -> None:
    found = judge([_launch(2, 30.0), _launch(None, 20.0), _launch(1, 10.0)])
    assert found["threads"] == 2
    assert [c["threads"] for c in found["candidates"]] == [None, 1, 2]
    assert [round(c["score"], 3) for c in found["candidates"]] == [1.0, 0.707, 1.225]
    assert found["candidates"][0]["rates"] == {"decode_1": 20.0, "prefill": 100.0}


def test_a_gain_that_chance_would_give_leaves_the_default() -> None:
    assert judge([_launch(None, 20.0), _launch(2, 20.5)])["threads"] is None


def test_a_count_counts_for_all_rates_together() -> None:
    """Twice the decode rate does not make up for a quarter of the prefill rate."""
    assert judge([_launch(None, 10.0, 100.0), _launch(1, 20.0, 25.0)])["threads"] is None


def test_rounds_are_joined_by_their_median() -> None:
    rounds = [_launch(2, rate) for rate in (1.0, 40.0, 41.0)]
    found = judge([_launch(None, 20.0), *rounds])
    assert (found["threads"], found["candidates"][1]["rates"]["decode_1"]) == (2, 40.0)


def test_a_disturbed_launch_does_not_decide_where_quiet_ones_can() -> None:
    quiet = [_launch(None, 20.0), _launch(1, 10.0), _launch(2, 30.0)]
    slowed = _calibrated(_launch(2, 5.0), seconds=0.02)
    found = judge([*quiet[:2], slowed])
    assert (found["threads"], found["candidates"][2]["contended"]) == (None, True)
    found = judge([*quiet[:2], slowed, quiet[2]])
    assert (found["threads"], found["candidates"][2]["contended"]) == (2, False)
    assert found["candidates"][2]["rates"]["decode_1"] == 30.0


def test_a_count_that_failed_is_not_chosen_and_says_why() -> None:
    found = judge([_launch(None, 20.0), _launch(2, 90.0), _failed(2)])
    assert found["threads"] is None
    assert found["candidates"][1]["error"] == "no result within 9 s"


def test_where_the_default_fails_a_count_is_taken() -> None:
    assert judge([_failed(None), _launch(1, 10.0), _launch(2, 12.0)])["threads"] == 2
    assert judge([_failed(None), _failed(1)])["threads"] is None


def test_a_rate_that_noise_left_out_is_not_compared() -> None:
    bare = _launch(2, 10.0)
    del bare["values"]["decode_1"]
    found = judge([_launch(None, 20.0), bare])
    assert [c["score"] for c in found["candidates"]] == [1.0, 1.0]


def test_threads_go_by_option_and_variable() -> None:
    assert with_threads(Entry("torch", "torch"), 1) == Entry(
        "torch", "torch", {"threads": 1}, pool=1
    )
    assert with_threads(Entry("plug-in", "plug-in"), 1) == Entry("plug-in", "plug-in", pool=1)
    assert with_threads(Entry("torch", "torch"), None) == Entry("torch", "torch")


def test_counts_that_were_given_are_not_swept() -> None:
    given = Entry("torch:threads=1", "torch", {"threads": 1})
    assert candidates(given, 8) == [None]
    assert candidates(Entry("torch", "torch"), 1) == [None, 1]
    assert candidates(Entry("torch", "torch"), 8) == [None, 1, 2, 4, 8]


def test_every_engine_gets_room_for_all_streams() -> None:
    def options(engine: str, **given: object) -> dict[str, object]:
        return fitted(Entry(engine, engine, given), streams=64, context=600).options

    assert options("torch") == {"max_batch": 64}
    assert options("mistralrs") == {"max_seqs": 64}
    assert options("llamacpp") == {"max_batch": 64, "context": 600}
    assert options("llamacpp", max_batch=8, dtype="q8_0") == {
        "max_batch": 8, "context": 600, "dtype": "q8_0",
    }  # fmt: skip
    assert options("transformers") == options("plug-in") == {}


INSTALLED = [engine.name for engine in list_engines() if engine.available]


@pytest.mark.parametrize("name", [name for name in KNOBS if name in INSTALLED])
def test_the_options_are_those_of_the_engines(name: str) -> None:
    with pytest.raises(UserError, match="it knows: ") as caught:
        load_engine(name, "nowhere", nonsense=1)
    knobs = KNOBS[name]
    known = str(caught.value).rpartition("it knows: ")[2].rstrip(".").split(", ")
    assert {option for option in (knobs.threads, knobs.room, knobs.context) if option} <= set(known)
