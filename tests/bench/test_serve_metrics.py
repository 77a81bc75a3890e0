"""The figures of serving by their formulas, on answers with known times."""

from __future__ import annotations

from typing import Any

import pytest

from airust.bench.serve_metrics import (
    Targets,
    answer_times,
    lateness,
    point_values,
    quantiles,
    slow_down,
)
from airust.types import UserError


def asked(due: float, *arrivals: float, **changes: Any) -> dict[str, Any]:
    return {
        "due_s": due, "sent_s": due + 0.001, "arrivals_s": list(arrivals), "tokens": len(arrivals),
        "right": True, **changes,
    }  # fmt: skip


def test_times_of_one_answer() -> None:
    found = answer_times(asked(10.0, 10.5, 10.7, 11.5))
    assert found == pytest.approx({"ttft": 0.5, "e2e": 1.5, "tpot": 0.5})
    assert answer_times(asked(1.0)) == {}
    assert "tpot" not in answer_times(asked(1.0, 2.0))


def test_tokens_of_one_piece_count_all() -> None:
    """Four tokens in two events: the time per token is that of three gaps, not of one."""
    found = answer_times(asked(0.0, 1.0, 1.6, tokens=4))
    assert found["tpot"] == pytest.approx(0.2)


def test_rates_go_by_the_time_from_the_first_due_to_the_last_token() -> None:
    requests = [asked(1.0, 1.5, 2.0), asked(2.0, 2.5, 5.0)]
    found = point_values(requests, Targets(e2e_s=1.5))
    assert found["output_rate"] == pytest.approx(4 / 4)
    assert found["request_rate"] == pytest.approx(2 / 4)
    assert found["goodput"] == pytest.approx(1 / 4)  # the second one took 3 s
    assert found["ttft_p50"] == pytest.approx(0.5)
    assert found["itl_p50"] == pytest.approx((0.5 + 2.5) / 2)


def test_a_wrong_or_failed_answer_is_in_no_figure_but_in_the_time() -> None:
    requests = [asked(0.0, 0.5, 1.0), asked(-1.0, right=False, tokens=99)]
    found = point_values(requests, Targets())
    assert found["output_rate"] == pytest.approx(2 / 2)
    assert found["goodput"] == pytest.approx(1 / 2)


def test_quantiles_need_values() -> None:
    assert set(quantiles([1.0] * 9)) == {"p50"}
    assert set(quantiles([1.0] * 99)) == {"p50", "p90"}
    assert set(quantiles([1.0] * 100)) == {"p50", "p90", "p99"}
    assert quantiles([1.0]) == {}


def test_goodput_needs_all_limits() -> None:
    limits = Targets(ttft_s=1, tpot_s=0.1)
    assert limits.met({"ttft": 1.0, "tpot": 0.1, "e2e": 99})
    assert not limits.met({"ttft": 1.0, "tpot": 0.11})
    assert limits.met({"ttft": 0.5})  # one token has no time per token
    with pytest.raises(UserError, match="tpot_s is 0 but must be above 0"):
        Targets(tpot_s=0)


def test_an_answer_that_slows_down_half_way() -> None:
    steady = asked(0.0, *(0.1 * n for n in range(1, 11)))
    assert slow_down([steady]) == pytest.approx(1.0)
    times = [0.1 * n for n in range(1, 7)] + [0.6 + 0.3 * n for n in range(1, 6)]
    assert slow_down([asked(0.0, *times)]) == pytest.approx(3.0)
    assert slow_down([asked(0.0, 1.0, 2.0)]) is None


def test_the_lateness_is_that_of_the_latest() -> None:
    assert lateness([asked(0.0, 1.0), asked(0.0, 1.0, sent_s=0.25)]) == 0.25
    assert lateness([]) == 0
