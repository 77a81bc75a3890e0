"""Two clients that share no code see the same server: ours, and guidellm in its own environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.bench import guidellm
from airust.bench.guidellm import agreement, measure_both, read_figures
from airust.bench.serve_plan import ServePlan

# `make .venv-guidellm/.installed` makes it; its dependencies do not go with ours.
COMMAND = Path(__file__).parents[2] / ".venv-guidellm" / "bin" / "guidellm"


def test_its_figures_in_our_words() -> None:
    found = read_figures(
        {
            "metrics": {
                "time_to_first_token_ms": {"successful": {"median": 50.0}},
                "inter_token_latency_ms": {"successful": {"median": 20.0}},
                "request_latency": {"successful": {"median": 0.5}},
                "output_token_count": {"successful": {"total_sum": 64}},
            },
            "requests": {
                "successful": [
                    {"info": {"timings": {"request_start": 10.0, "request_end": 11.0}}},
                    {"info": {"timings": {"request_start": 10.5, "request_end": 12.0}}},
                ]
            },
        }
    )
    assert found == {"ttft_p50": 0.05, "tpot_p50": 0.02, "e2e_p50": 0.5, "output_rate": 32.0}


def test_a_command_that_is_not_there_is_told_and_costs_nothing_else(
    model_dir: Path, tmp_path: Path
) -> None:
    plan = ServePlan(str(tmp_path), str(model_dir), serve=("torch",), guidellm="no/such")
    found = agreement(measure_both(plan, plan.servers()[0]))
    assert found is not None and found["figures"] == {}
    assert found["error"] == "There is no command 'no/such'."


@pytest.mark.full
def test_both_clients_agree_on_a_server_of_a_steady_pace(
    parrots: str, reciter_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine takes 20 ms a token whatever else runs: what differs is the clients."""
    assert COMMAND.exists(), "`make .venv-guidellm/.installed` installs guidellm"
    monkeypatch.setattr(guidellm, "ROUNDS", 2)
    plan = ServePlan(
        str(tmp_path), str(reciter_dir), serve=("steady",), prompt_tokens=48, new_tokens=16,
        requests=12, guidellm=str(COMMAND),
    )  # fmt: skip
    found = agreement(measure_both(plan, plan.servers()[0]))
    assert found is not None and found["error"] is None, found
    assert set(found["figures"]) == set(guidellm.FIGURES)
    for name in ("tpot_p50", "e2e_p50"):
        assert found["figures"][name]["near"], found
    assert found["figures"]["tpot_p50"]["ours"] == pytest.approx(0.02, rel=0.3)
