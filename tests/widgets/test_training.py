"""Training with a monitor, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airust.gpt.presets import preset
from airust.gpt.run import Run, prepare
from airust.gpt.train import read_checkpoint
from airust.types import UserError
from airust.widgets.training import TrainingMonitor
from tests.widgets.waiting import eventually

TEXT = "To be, or not to be, that is the question.\n" * 200


def make(out: Path, resume: bool = False, **changes: Any) -> Run:
    """A run on a small text, so that it begins at once."""
    out.mkdir(exist_ok=True)
    data = out.parent / "text.txt"
    data.write_text(TEXT, "utf-8")
    config = preset(
        "shakespeare-char", steps=6, rows=4, length=16, validation=0.2, validate_every=2,
        precision="float32", **changes,
    )  # fmt: skip
    return prepare(config, out, data=str(data), resume=resume)


def test_a_run_to_its_end(tmp_path: Path):
    seen = []
    monitor = TrainingMonitor(
        make(tmp_path / "run"), prompts=["To be"], sample_every=3, on_step=seen.append
    )
    assert monitor.state == "ready"
    assert monitor.still()[1] == "Training, ready: no step of 6 yet."
    assert monitor.start() is monitor
    monitor.wait()
    assert (monitor.state, monitor.step) == ("finished", 6)
    assert [record.step for record in seen] == [1, 2, 3, 4, 5, 6]
    assert list(monitor.frame.step) == [1, 2, 3, 4, 5, 6]
    assert [sample["step"] for sample in monitor.samples] == [3, 6]
    assert [step for step, _ in monitor.validation] == [2, 4, 6]
    assert monitor.val_loss == monitor.validation[-1][1]
    markup, text = monitor.still()
    assert text in markup.replace("&#x27;", "'")
    assert "finished at step 6 of 6" in text
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_watching_changes_nothing(tmp_path: Path):
    plain = [record.loss for record in make(tmp_path / "plain").trainer]
    monitor = TrainingMonitor(make(tmp_path / "watched"), prompts=["To be"], sample_every=1)
    assert [record.loss for record in monitor] == plain


def test_the_stop_button_leaves_a_checkpoint_that_resumes(tmp_path: Path):
    undisturbed = [record.loss for record in make(tmp_path / "whole").trainer]
    monitor = TrainingMonitor(make(tmp_path / "run"))
    losses = []
    for record in monitor:
        losses.append(record.loss)
        if record.step == 2:
            monitor._handle_custom_msg({"kind": "stop"}, [])  # what the button sends
            assert monitor.state == "stopping"
    assert monitor.state == "stopped"
    assert "Stopped at step 2" in monitor.message
    assert read_checkpoint(tmp_path / "run")["step"] == 2
    resumed = TrainingMonitor(make(tmp_path / "run", resume=True))
    assert resumed.step == 2
    losses += [record.loss for record in resumed]
    assert losses == undisturbed


def test_leaving_the_loop_stops_with_a_checkpoint(tmp_path: Path):
    monitor = TrainingMonitor(make(tmp_path / "run"))
    for record in monitor:
        if record.step == 3:
            break
    eventually(lambda: monitor.state == "stopped", "it never stopped")
    assert read_checkpoint(tmp_path / "run")["step"] == 3


def test_a_failure_is_shown_and_raised(tmp_path: Path):
    def fail(record: object) -> None:
        raise ValueError("no more")

    monitor = TrainingMonitor(make(tmp_path / "run"), on_step=fail).start()
    with pytest.raises(ValueError, match="no more"):
        monitor.wait()
    assert (monitor.state, monitor.message) == ("failed", "ValueError: no more")
    with pytest.raises(UserError, match="resume"):
        monitor.start()


def test_samples_need_a_tokenizer(tmp_path: Path):
    with pytest.raises(UserError, match="tokenizer"):
        TrainingMonitor(make(tmp_path / "run").trainer, prompts=["x"])
