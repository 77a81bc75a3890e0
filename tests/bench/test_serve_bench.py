"""Whole load tests: servers of our own, engines in process, and everything that may go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from airust.bench import serve_bench
from airust.bench.compare import compare
from airust.bench.guidellm import agreement
from airust.bench.journal import read_records
from airust.bench.own_server import own_server
from airust.bench.pace import Status
from airust.bench.plots_serve import load, load_alt
from airust.bench.serve_bench import ServeBench
from airust.bench.serve_plan import ServePlan
from airust.bench.serve_results import build_results
from airust.bench.serve_tables import headline, point_table, summary_page
from airust.cli import build_app
from airust.types import EngineError, UserError

SCHEMA = Path(serve_bench.__file__).parent / "schemas" / "serve.json"
SIZES: dict[str, Any] = {
    "concurrency": (1, 2), "requests": 4, "prompt_tokens": 32, "new_tokens": 8, "launches": 1,
    "cores": 1,
}  # fmt: skip


def plan(model: Path, out: Path, **changes: Any) -> ServePlan:
    return ServePlan(str(out), str(model), **(SIZES | changes))


def valid(results: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    errors = Draft202012Validator(schema).iter_errors(json.loads(json.dumps(results)))
    assert not [f"{error.json_path}: {error.message}" for error in errors]


def test_our_own_server_from_start_to_end(model_dir: Path, tmp_path: Path) -> None:
    """The weights behind HTTP, every answer compared token by token, twice for the A/A pair."""
    out, told = tmp_path / "out", list[Status]()
    given = plan(model_dir, out, serve=("torch",), rates=(50.0,))
    results = ServeBench(given, tell=told.append).run()
    valid(results)
    records = read_records(out / "raw.jsonl")
    assert build_results(records) == json.loads((out / "results.json").read_text("utf-8"))
    assert (out / "summary.md").read_text("utf-8") == summary_page(results)
    assert results["complete"] and not (out / "resume").exists()
    assert [s["label"] for s in results["servers"]] == ["torch", "torch (A/A)"]
    assert [s["reason"] for s in results["servers"]] == [None, None]
    for launch in results["launches"]:
        assert launch["checks"]["exact"] + launch["checks"]["tied"] == 12
        assert launch["checks"]["wrong"] == launch["checks"]["failed"] == 0
        assert launch["peak_memory_bytes"] > 0 and len(launch["warm_up_s"]) >= 3
    assert [p["key"] for p in results["points"]] == ["concurrency_1", "concurrency_2", "rate_50"]
    for point in results["points"]:
        figures = results["summary"][point["key"]]
        assert {"ttft_p50", "tpot_p50", "e2e_p50", "itl_p90", "output_rate"} <= set(figures)
        assert figures["ttft_p50"]["aa_band"] >= 1
    asked = next(x for x in records if x["key"][0] == "launch")["points"]["concurrency_1"][
        "requests"
    ]
    assert all(len(a["token_ids"]) == len(a["arrivals_s"]) == 8 for a in asked)
    recorded = records[0]["sessions"]
    assert all(len(turn["token_ids"]) == 32 for session in recorded for turn in session)
    assert told[0].left_s > 0 and told[-1].what.startswith("launch: torch")
    again = ServeBench(given, resume=True).run()
    assert again["launches"] == results["launches"]
    with pytest.raises(UserError, match="--resume goes on with it"):
        ServeBench(given)
    with pytest.raises(UserError, match=r"began with requests 4, not 5"):
        ServeBench(plan(model_dir, out, serve=("torch",), rates=(50.0,), requests=5), resume=True)


def test_engines_that_fail_in_every_way_are_caught_under_load(
    parrots: str, reciter_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_bench, "LAUNCH_TIMEOUT_S", 60.0)
    names = ("parrot", "wrong", "padded", "miscounting", "dying", "slowing")
    given = plan(reciter_dir, tmp_path / "out", engines=names, concurrency=(1,), stall_s=2.0)
    results = ServeBench(given).run()
    valid(results)
    reasons = {server["where"]: server["reason"] for server in results["servers"]}
    assert reasons["parrot"] is reasons["slowing"] is None
    marks = [mark for launch in results["launches"] for mark in launch["marks"]]
    assert sum("times as long in the second half of an answer" in mark for mark in marks) == 1
    expected = {
        "wrong": "it left the reference at token",
        "padded": "it claims 8 tokens and gave 2",
        "miscounting": "it claims 16 tokens and gave 8",
        "dying": "the process ended with exit code 3: illegal instruction",
    }
    for name, words in expected.items():
        assert words in str(reasons[name]), reasons[name]
    timed = {e for p in results["summary"].values() for f in p.values() for e in f["engines"]}
    assert timed == {"parrot in process", "parrot in process (A/A)", "slowing in process"}


@pytest.mark.full
def test_a_server_that_stalls_is_a_failure_with_its_reason(
    parrots: str, reciter_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_bench, "LAUNCH_TIMEOUT_S", 4.0)  # even the warm-up stalls
    given = plan(reciter_dir, tmp_path / "out", engines=("stalling",), concurrency=(1,))
    results = ServeBench(given).run()
    valid(results)
    assert results["servers"][0]["reason"] == "no result within 4 s"
    assert results["summary"] == {} and "Nothing was timed" in headline(results)


def made_up(**changes: Any) -> list[dict[str, Any]]:
    """Records of two servers, one twice as fast as the other."""
    given = ServePlan("reports/x", None, url=("http://a/v1", "b=http://b/v1"), launches=3)
    servers = [
        {"label": label, "kind": "url", "where": f"http://{label}/v1"}
        for label in ("a", "b", "a (A/A)")
    ]
    points = [{"kind": "concurrency", "value": 2, "key": "concurrency_2", "sessions": 12}]
    host = {
        "cpu": "A processor", "cores_usable": 2, "cores_physical": 1, "memory_bytes": 24 * 10**9,
        "os": "Linux 6", "python": "3.11.9",
    }  # fmt: skip
    parameters = {name: getattr(given, name) for name in given.__slots__} | {"cores": 2}
    records: list[dict[str, Any]] = [
        {
            "key": ["plan"], "created": "2026-01-02T03:04:05+00:00", "command": "airust bench",
            "parameters": parameters, "host": host, "versions": {"torch": "2.13.0"}, "model": None,
            "servers": servers, "points": points, "sessions": [], "sessions_sha256": "ab" * 32,
            "seconds": 1.0,
        },
        {"key": ["answers", "all"], "verified": 24, "seconds": 2.0},
    ]  # fmt: skip
    quiet = {"compute_s": 0.005, "memory_s": 0.006, "load_average": 1.0}
    for block in range(3):
        for place, server in enumerate(servers):
            gap = (0.02 if server["label"] == "b" else 0.01) * (1 + 0.01 * ((block + place) % 3))
            requests = [
                {
                    "session": n, "turn": 0, "due_s": gap * n, "sent_s": gap * n + 0.0004,
                    "arrivals_s": [gap * (n + k) for k in range(1, 9)], "token_ids": [*range(8)],
                    "end_s": gap * (n + 9), "prompt_tokens": 64, "tokens": 8,
                    "cached_tokens": 16, "error": None, "status": "exact", "detail": "",
                    "right": True,
                } | changes
                for n in range(12)
            ]  # fmt: skip
            point = {
                "seconds": 20 * gap,
                "client_cpu_s": 0.003,
                "server_cpu_s": None,
                "requests": requests,
            }
            records.append(
                {
                    "key": ["launch", server["label"], block], "label": server["label"],
                    "block": block, "error": None, "load_s": 0.1, "settings": {"server": "vllm"},
                    "warm_up_s": [0.1, 0.1, 0.1], "points": {"concurrency_2": point},
                    "peak_memory_bytes": None, "steal_share": 0.0, "others_share": 0.01,
                    "load_average": 1.0, "calibration": [quiet, quiet], "seconds": 5.0,
                }
            )  # fmt: skip
    return records


def test_every_number_of_the_page_comes_from_the_results(
    check_numbers: Callable[..., None],
) -> None:
    rounds = [
        {
            "ours": {"ttft_p50": 0.101, "output_rate": 55.0},
            "guidellm": {"ttft_p50": 0.1, "output_rate": 54.0},
        }
    ]
    for figures in rounds[0].values():
        figures.update({"tpot_p50": 0.02, "e2e_p50": 0.3})
    checked = {"key": ["agreement", "a"], "error": None, "version": "0.8.1", "rounds": rounds}
    results = build_results(
        [*made_up(), checked, {"key": ["end"], "reason": "All launches were made."}]
    )
    valid(results)
    launches = results["launches"]
    points = [p for x in launches for p in x["points"].values()]
    cached = sum(p["cached_tokens"] for p in points) / sum(p["prompt_tokens"] for p in points)
    exact = sum(x["checks"]["exact"] for x in launches)
    page = summary_page(results)
    check_numbers(page, results, [f"{100 * cached:.1f}", f"{exact:,}", str(len(launches))])
    assert "| Time to first token, p50 (ms) | 101 | 100 | 1.010 | agree |" in page
    assert "closed loop, 2 at once" in page.lower() and "25.0% of prompt tokens" in page
    figure = load(results, "concurrency")
    assert figure is not None and load(results, "rate") is None
    assert "Output rate at 2, b" in load_alt(results, "concurrency")


def test_the_slower_server_is_found_and_the_twin_is_not() -> None:
    results = build_results(made_up())
    found = results["summary"]["concurrency_2"]["tpot_p50"]["ratios"]
    assert found["b"]["verdict"] == "higher" and found["b"]["estimate"] == pytest.approx(
        2, rel=0.05
    )
    assert found["a (A/A)"]["verdict"] == "no difference"
    assert "| b | 20" in point_table(results, results["points"][0]) or "| b | 19" in point_table(
        results, results["points"][0]
    )


def test_two_load_tests_are_compared_point_by_point() -> None:
    before, after = build_results(made_up()), build_results(made_up())
    for launch in after["launches"]:
        for key in launch["values"]:
            if launch["label"] == "b" and key.endswith("tpot_p50"):
                launch["values"][key] = [value / 1.5 for value in launch["values"][key]]
    found = {(c.engine, c.metric): c for c in compare(before, after)}
    assert found["b", "tpot_p50"].verdict == "faster"
    assert found["b", "tpot_p50"].ratio.estimate == pytest.approx(1 / 1.5)
    assert found["b", "tpot_p50"].model == "closed loop, 2 at once"
    assert found["a", "tpot_p50"].verdict == "no difference"


def test_failed_requests_count_against_goodput_and_are_told() -> None:
    records = made_up()
    bad = records[2]["points"]["concurrency_2"]["requests"][0]
    bad |= {"status": "failed", "detail": "429", "right": False, "tokens": 0, "arrivals_s": []}
    records[2]["points"]["concurrency_2"]["client_cpu_s"] = 99.0
    results = build_results(records)
    valid(results)
    launch = results["launches"][0]
    assert launch["checks"]["failed"] == 1 and launch["error"] is None
    assert "concurrency_2: 1 requests failed, the first: 429" in launch["marks"]
    assert any("this client used" in mark for mark in launch["marks"])


def test_clients_that_disagree_are_said_to() -> None:
    names = ("ttft_p50", "tpot_p50", "e2e_p50", "output_rate")
    rounds = [{"ours": dict.fromkeys(names, 1.0), "guidellm": dict.fromkeys(names, 1.2)}] * 3
    found = agreement({"error": None, "version": "1", "rounds": rounds})
    assert found is not None and not any(value["near"] for value in found["figures"].values())
    assert agreement(None) is None


def test_a_server_that_does_not_start_says_why(model_dir: Path) -> None:
    said = r"The server did not start: .*no option 'nonsense'"
    with pytest.raises(EngineError, match=said), own_server("torch:nonsense=1", model_dir):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "Name a server: --serve ENGINE, --url ADDRESS or --engine ENGINE"),
        ({"serve": ("nonsense",)}, "There is no engine 'nonsense'"),
        ({"serve": ("torch",), "model": None}, "Say with --model what our own engines"),
        ({"serve": ("torch",), "concurrency": ()}, "--concurrency, --rates or both"),
        ({"serve": ("torch",), "concurrency": (0,)}, "must be above 0"),
        ({"serve": ("torch",), "rates": (float("inf"),)}, "must be above 0"),
        ({"serve": ("torch", "torch")}, "must have different names"),
        ({"serve": ("torch",), "traffic": "noise"}, "traffic is 'noise'"),
        ({"serve": ("torch",), "ttft_s": -1.0}, "ttft_s is -1.0 but must be above 0"),
        ({"serve": ("torch",), "cores": 999}, "cores is 999"),
    ],
)
def test_what_cannot_be_is_the_users_mistake(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ServePlan(**({"out": "o", "model": "m"} | changes))


def test_the_command_does_the_same_again() -> None:
    given = ServePlan(
        "reports/x", "runs/random-qwen3-100m", serve=("torch", "mistralrs"), url=("a=http://a/v1",),
        rates=(0.5, 2.0), ttft_s=None,
    )  # fmt: skip
    assert given.command() == (
        "airust bench serve --out reports/x --random qwen3-100m --serve torch --serve mistralrs "
        "--url a=http://a/v1 --rates 0.5,2 --ttft-s 0"
    )
    words = given.command().split()[3:]
    done = CliRunner().invoke(build_app(), ["bench", "serve", *words[:1]])
    assert done.exit_code == 2  # --out needs a value; the options themselves are known
    assert "No such option" not in done.output


def test_a_mistake_is_one_sentence(tmp_path: Path) -> None:
    words = ["bench", "serve", "--out", str(tmp_path), "--serve", "torch"]
    done = CliRunner().invoke(build_app(), words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Say with --model what our own engines should load." in done.stderr
