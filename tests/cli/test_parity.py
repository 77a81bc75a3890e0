"""The table, the file and the exit code; the comparison itself is tested with the engines."""

import json

import pytest

from airust.engines import parity
from airust.engines.parity import Divergence, EngineParity, ParityReport

TIE = Divergence(3, 17, expected=5, got=6, margin=1e-6, gap=1e-6, tied=True)
REAL = Divergence(0, 4, expected=5, got=6, margin=0.7, gap=0.7, tied=False)
GOOD = EngineParity(
    "torch", "passed", "Agrees.", dtype="float32", max_delta=2e-6, mean_delta=1e-7, max_kl=1e-9,
    prompts=25, equal=25,
)  # fmt: skip
TIED = EngineParity("mistralrs", "passed", "Agrees.", prompts=25, equal=24, tied=1, divergence=TIE)
BAD = EngineParity("warp", "failed", "A logprob differs by 0.5.", max_delta=0.5, divergence=REAL)
COARSE = EngineParity(
    "torch:dtype=bfloat16", "measured", "In bfloat16 a logprob is off by up to 0.03, and 0 of 25"
    " greedy answers differ.", dtype="bfloat16", max_delta=0.03, prompts=25, equal=25,
)  # fmt: skip
ABSENT = EngineParity("llamacpp", "unavailable", "It is not installed.")


@pytest.fixture
def report(monkeypatch):
    """Let run_parity answer with the given engines and note what it was asked."""

    def answer(*engines):
        asked = {}

        def run_parity(model, names, **options):
            options.pop("on_progress")("torch", 0, 25)
            asked.update(names=names, **options)
            return ParityReport("m", "0" * 64, "PyTorch", 25, 64, 1e-3, engines)

        monkeypatch.setattr(parity, "run_parity", run_parity)
        return asked

    return answer


def test_engines_that_agree(airust, report, tmp_path):
    asked = report(GOOD, TIED)
    file = tmp_path / "new" / "parity.json"
    done = airust("parity", "--model", str(tmp_path), "--json", str(file), "--tokens", "8")
    assert (done.exit_code, done.stderr) == (0, "")
    assert asked == {"names": None, "new_tokens": 8}
    assert "25 of 25" in done.stdout and "2.0e-06" in done.stdout
    assert "mistralrs: gives no logprobs" in done.stdout
    assert "1 answers leave the reference at a tie" in done.stdout
    assert json.loads(file.read_text("utf-8"))["passed"] is True


@pytest.mark.parametrize(
    ("engines", "names", "code"),
    [
        ((GOOD, BAD), None, 1),
        ((GOOD, ABSENT), None, 0),
        ((GOOD, COARSE), None, 0),
        ((COARSE, BAD), None, 1),
        ((GOOD, ABSENT), "torch, llamacpp", 1),
        ((ABSENT,), None, 1),
    ],
)
def test_exit_code(airust, report, tmp_path, engines, names, code):
    asked = report(*engines)
    done = airust("parity", "--model", str(tmp_path), *(("--engines", names) if names else ()))
    assert done.exit_code == code
    assert asked["names"] == (names and ["torch", "llamacpp"])
    for engine in engines:
        assert (engine.reason in done.stdout) == (engine.status != "passed")


def test_engines_with_options(airust, report, tmp_path):
    asked = report(GOOD, COARSE)
    engines = "torch,torch:dtype=bfloat16,threads=1"
    done = airust("parity", "--model", str(tmp_path), "--engines", engines)
    assert asked["names"] == ["torch", "torch:dtype=bfloat16,threads=1"]
    assert "measured" in done.stdout
    assert COARSE.reason in done.stdout


def test_the_first_real_difference_is_shown(airust, report, tmp_path):
    report(BAD)
    done = airust("parity", "--model", str(tmp_path))
    assert "first difference at prompt 0, token 4" in done.stdout


def test_mistakes(airust, tmp_path):
    assert airust("parity").exit_code == 2
    assert airust("parity", "--model", str(tmp_path), "--engines", ",").exit_code == 2
    assert airust("parity", "--model", str(tmp_path), "--tokens", "0").exit_code == 2
    done = airust("parity", "--model", str(tmp_path))  # a folder without a model
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
