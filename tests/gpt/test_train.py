"""The training loop: resume after a real kill, stop, DDP, records, targets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from airust.gpt.checkpoint import load_model
from airust.gpt.presets import PRESETS, TrainConfig, preset
from airust.gpt.run import prepare
from airust.gpt.tokenizer import Tokenizer
from airust.gpt.train import CHECKPOINT, METRICS, read_checkpoint
from airust.types import UserError

TEXT = "the rain falls on the hills and the river carries it down to the sea. " * 60


def quick(**changes: object) -> TrainConfig:
    return replace(preset("smoke", steps=12, rows=4, precision="float32"), **changes)  # type: ignore[arg-type]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "rain.txt"
    path.write_text(TEXT, "utf-8")
    return path


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / METRICS).read_text().splitlines()]


def start(out: Path, data: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "airust", "train", "--preset", "smoke", "--data", str(data),
        "--out", str(out), "--rows", "4", "--precision", "float32", "--threads", "1", *options,
    ]  # fmt: skip
    out.mkdir(exist_ok=True)
    with (out / "log.txt").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def wait_for_steps(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (out / METRICS).is_file() and len((out / METRICS).read_bytes().splitlines()) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} steps: {(out / 'log.txt').read_text()[-2000:]}")


def test_records_and_files(tmp_path: Path, text: Path) -> None:
    run = prepare(quick(), tmp_path / "run", data=str(text))
    records = list(run.trainer)
    assert [r.step for r in records] == list(range(1, 13))
    assert records[-1].loss < records[0].loss
    assert all(r.tokens_per_s > 0 and 0 < r.mfu < 5 and r.grad_norm > 0 for r in records)
    assert records[-1].tokens == 12 * 4 * 64
    assert losses(tmp_path / "run") == [r.loss for r in records]
    run.save()
    load_model(tmp_path / "run")
    assert Tokenizer.load(tmp_path / "run").vocab_size == run.tokenizer.vocab_size


def test_stop_saves_and_resume_gives_the_same_losses(tmp_path: Path, text: Path) -> None:
    whole = [r.loss for r in prepare(quick(), tmp_path / "a", data=str(text)).trainer]
    run = prepare(quick(), tmp_path / "b", data=str(text))
    for record in run.trainer:
        if record.step == 5:
            run.trainer.stop()
    assert run.trainer.interrupted
    assert not run.trainer.finished
    again = prepare(quick(), tmp_path / "b", data=str(text), resume=True)
    assert again.trainer.step == 5
    list(again.trainer)
    assert losses(tmp_path / "b") == whole


def test_kill_9_and_resume_continue_the_same_curve(tmp_path: Path, text: Path) -> None:
    steps = ("--steps", "40")
    undisturbed = start(tmp_path / "a", text, *steps)
    assert undisturbed.wait(180) == 0
    # A checkpoint exists early only if the run was stopped once; then comes the kill.
    first = start(tmp_path / "b", text, *steps)
    wait_for_steps(tmp_path / "b", 5, first)
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130
    second = start(tmp_path / "b", text, *steps, "--resume")
    wait_for_steps(tmp_path / "b", 15, second)
    second.kill()
    second.wait()
    with (tmp_path / "b" / METRICS).open("a") as file:
        file.write('{"step": 1')  # as a kill in mid-write leaves it
    third = start(tmp_path / "b", text, *steps, "--resume")
    assert third.wait(180) == 0
    assert losses(tmp_path / "b") == losses(tmp_path / "a")


def test_nothing_is_overwritten_unasked(tmp_path: Path, text: Path) -> None:
    run = prepare(quick(), tmp_path / "run", data=str(text))
    list(run.trainer)
    before = losses(tmp_path / "run")
    with pytest.raises(UserError, match="--resume"):
        prepare(quick(), tmp_path / "run", data=str(text))
    with pytest.raises(UserError, match="other settings"):
        prepare(quick(seed=1), tmp_path / "run", data=str(text), resume=True)
    assert losses(tmp_path / "run") == before


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_one_sentence(
    tmp_path: Path, text: Path, damage: bytes | None
) -> None:
    run = prepare(quick(steps=1), tmp_path / "run", data=str(text))
    list(run.trainer)
    path = tmp_path / "run" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000] if damage is None else damage)
    with pytest.raises(UserError, match="truncated"):
        read_checkpoint(tmp_path / "run")


def test_accumulation_changes_nothing(tmp_path: Path, text: Path) -> None:
    one = [r.loss for r in prepare(quick(), tmp_path / "a", data=str(text)).trainer]
    two = prepare(quick(accumulate=2), tmp_path / "b", data=str(text)).trainer
    assert [r.loss for r in two] == pytest.approx(one, rel=1e-3)


def test_two_gloo_processes_give_the_loss_of_one(tmp_path: Path, text: Path) -> None:
    assert start(tmp_path / "a", text, "--steps", "10").wait(180) == 0
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "airust", "train", "--preset", "smoke", "--data", str(text), "--out",
        str(tmp_path / "b"), "--rows", "4", "--steps", "10", "--precision", "float32",
        "--threads", "1", "--device", "cpu",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), rel=1e-3)


def test_two_stages_and_the_exam(tmp_path: Path) -> None:
    run = prepare(quick(stages="two-stage", steps=4), tmp_path / "run")
    list(run.trainer)
    result = run.evaluate()
    assert result is not None
    saved = json.loads((tmp_path / "run" / "eval.json").read_text("utf-8"))
    assert saved["data_sha256"] == run.trainer.source.sha256
    assert set(saved["scores"]["held_out"]) == {"en", "zh"}
    assert {"kind", "relation", "language", "n", "exact", "majority"} == set(saved["relations"][0])


def test_presets_have_the_sizes_they_claim() -> None:
    import torch

    from airust.gpt.model import GPT

    with torch.device("meta"):
        sizes = {}
        for name in ("tiny", "small", "medium"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("airust.gpt.attention.Attention.start_copying", lambda self: None)
                sizes[name] = GPT(PRESETS[name].model).parameter_count()
    assert sizes["tiny"] <= 5_000_000
    assert 20e6 < sizes["small"] < 45e6
    assert 90e6 < sizes["medium"] < 150e6


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match="huge"):
        preset("huge")
    with pytest.raises(UserError, match="speed"):
        preset("smoke", speed=3)
    with pytest.raises(UserError, match="length"):
        preset("smoke", length=4096)
    with pytest.raises(UserError, match="multiple"):
        preset("smoke", rows=5, accumulate=2)
