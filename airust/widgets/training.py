"""``TrainingMonitor``: a training run that can be watched, and stopped, in a notebook.

    from airust.gpt.presets import preset
    from airust.gpt.run import prepare

    run = prepare(preset("tiny"), Path("runs/mine"), resume=True)
    monitor = airust.TrainingMonitor(run, prompts=["What is the capital of France?"])
    monitor.start()
    monitor

``start`` trains in a thread, so that the kernel stays free for other cells; ``for record in
monitor`` trains in the cell itself. Either way the stop button, ``monitor.stop()`` and an
interrupted kernel end the run as Ctrl+C ends ``airust train``: after the current step, with a
checkpoint, and ``prepare(..., resume=True)`` goes on from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import traitlets

from airust.gpt.generate import generate_text
from airust.gpt.run import Run
from airust.gpt.train import StepRecord, Trainer
from airust.types import Message, SamplingParams, UserError
from airust.widgets import bundle
from airust.widgets.curve import Curve
from airust.widgets.still import StillWidget, picture
from airust.widgets.training_figure import describe, draw

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOW_EVERY_S = 0.25  # the curve travels to the browser at most so often
SAMPLES_KEPT = 60  # texts shown; older ones leave first
SAMPLE_TOKENS = 48
ENDED = ("finished", "stopped", "failed")


class TrainingMonitor(StillWidget):
    """Loss, validation loss, learning rate, tokens/s and samples of a run, with a stop button.

    The traits below can be observed and linked like those of any ipywidget.

    Args:
        run: what ``airust.gpt.run.prepare`` returns, or a bare ``Trainer`` (then without samples,
            and no model folder is written at the end).
        prompts: what the model is asked while it learns. A tokenizer with a chat form asks them
            as questions, another one lets the model go on from them.
        sample_every: steps between samples; 0 is a tenth of the run.
        on_step: called in the training thread after each step.

    Raises:
        UserError: prompts without a run that has a tokenizer.
    """

    _esm = bundle.esm(bundle.STATIC / "training.js")
    _css = (bundle.STATIC / "training.css").read_text("utf-8")

    state = traitlets.Unicode("ready").tag(sync=True)  # ready, running, stopping, or one of ENDED
    title = traitlets.Unicode().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)  # how it ended
    step = traitlets.Int(0).tag(sync=True)
    steps = traitlets.Int(0).tag(sync=True)
    loss = traitlets.Float(None, allow_none=True).tag(sync=True)
    val_loss = traitlets.Float(None, allow_none=True).tag(sync=True)
    lr = traitlets.Float(None, allow_none=True).tag(sync=True)
    tokens_per_s = traitlets.Float(None, allow_none=True).tag(sync=True)
    elapsed_s = traitlets.Float(0.0).tag(sync=True)
    curve = traitlets.Dict().tag(sync=True)  # columns: step, loss, lr, tokens_per_s
    validation: traitlets.List[Any] = traitlets.List().tag(sync=True)  # [step, loss]
    # {"step", "prompt", "text"}, newest last
    samples: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        run: Run | Trainer,
        *,
        prompts: Sequence[str] = (),
        sample_every: int = 0,
        on_step: Callable[[StepRecord], object] | None = None,
    ) -> None:
        self.run = run if isinstance(run, Run) else None
        self.trainer = run.trainer if isinstance(run, Run) else run
        if prompts and self.run is None:
            raise UserError("Samples need a tokenizer: give what prepare() returns, not a Trainer.")
        self.prompts = tuple(prompts)
        steps = self.trainer.config.steps
        self.sample_every = sample_every or max(1, steps // 10)
        self.records: list[StepRecord] = []
        self._on_step = on_step
        self._points = Curve()
        self._shown_at = 0.0
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        config = self.trainer.config
        size = self.trainer.model.parameter_count() / 1e6
        super().__init__(
            title=f"{config.preset}: {size:.1f} M parameters, to {self.trainer.out}",
            step=self.trainer.step,
            steps=steps,
            elapsed_s=self.trainer.elapsed_s,
            curve=dict(self._points.columns),
        )
        self.on_msg(self._obey)

    def start(self) -> TrainingMonitor:
        """Train in a thread; returns at once.

        Raises:
            UserError: it is running, or has ended.
        """
        self._begin()
        self._thread = threading.Thread(target=self._train, name="airust-training", daemon=True)
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[StepRecord]:
        """Train here, yielding each step's record. Leaving the loop early stops the run."""
        self._begin()
        yield from self._steps()

    def stop(self) -> None:
        """End after the current step, with a checkpoint. Safe from any thread."""
        if self.state == "running":
            self.state = "stopping"
        self.trainer.stop()

    def wait(self) -> TrainingMonitor:
        """Until the training of ``start`` has ended. Interrupting the kernel stops it.

        Raises:
            Exception: what the training failed with.
        """
        thread = self._thread
        while thread is not None and thread.is_alive():
            try:
                thread.join(0.2)  # in pieces: an interrupt is seen between them
            except KeyboardInterrupt:
                self.stop()
        if self._error is not None:
            raise self._error
        return self

    @property
    def frame(self) -> pd.DataFrame:
        """All records of this session, a row a step."""
        import pandas as pd

        return pd.DataFrame([asdict(record) for record in self.records])

    def figure(self) -> Figure:
        """The present state as a matplotlib figure."""
        return draw(self._points, self.title)

    def still(self) -> tuple[str, str]:
        """The figure with its description."""
        text = describe(self._points, self.state, self.step, self.steps)
        return picture(self.figure(), text), text

    def _begin(self) -> None:
        if self.state != "ready":
            raise UserError(
                "This run has been started already; prepare(..., resume=True) and a new "
                "monitor go on from its checkpoint."
            )
        self.state = "running"

    def _train(self) -> None:
        try:
            for _ in self._steps():
                pass
        except BaseException as error:  # `wait` raises it where somebody sees it
            self._error = error

    def _steps(self) -> Iterator[StepRecord]:
        try:
            for record in self.trainer:
                self._note(record)
                yield record
                if self._on_step is not None:
                    self._on_step(record)
        except GeneratorExit:  # the cell's loop was left
            self.trainer.stop()
            self.trainer.save()
            self._end("stopped")
            raise
        except BaseException as error:
            self._end("failed", f"{type(error).__name__}: {error}")
            raise
        if self.run is not None:
            self.run.save()
        self._end("finished" if self.trainer.finished else "stopped")

    def _note(self, record: StepRecord) -> None:
        self.records.append(record)
        self._points.add(
            record.step, loss=record.loss, lr=record.lr, tokens_per_s=record.tokens_per_s
        )
        if record.val_loss is not None:
            self._points.validation.append((record.step, record.val_loss))
        due = record.step % self.sample_every == 0 or record.step == record.steps
        if self.prompts and due:
            self._sample(record.step)
        now = time.monotonic()
        if now - self._shown_at >= SHOW_EVERY_S:
            self._shown_at = now
            self._show(record)

    def _show(self, record: StepRecord) -> None:
        with self.hold_sync():  # one message instead of eight
            self.step, self.loss, self.lr = record.step, record.loss, record.lr
            self.tokens_per_s, self.elapsed_s = record.tokens_per_s, record.elapsed_s
            if self._points.validation:
                self.val_loss = self._points.validation[-1][1]
            self.curve = {name: list(column) for name, column in self._points.columns.items()}
            self.validation = [list(point) for point in self._points.validation]

    def _end(self, state: str, message: str = "") -> None:
        if self.records:
            self._show(self.records[-1])
        if state == "stopped":
            trainer = self.trainer
            message = f"Stopped at step {trainer.step}; the checkpoint is in {trainer.out}."
        self.message = message
        self.state = state
        self.refresh_still()

    def _sample(self, step: int) -> None:
        """Ask the model as it is now. Greedy, so no random number of the run is used up."""
        assert self.run is not None
        tokenizer, model = self.run.tokenizer, self.trainer.model
        params = SamplingParams(max_tokens=SAMPLE_TOKENS)
        model.eval()
        texts = []
        for prompt in self.prompts:
            asked = [Message("user", prompt)] if tokenizer.has_chat_form else prompt
            text = generate_text(model, tokenizer, asked, params)
            texts.append({"step": step, "prompt": prompt, "text": text})
        model.train()
        self.samples = [*self.samples, *texts][-SAMPLES_KEPT:]

    def _obey(self, _: object, content: dict[str, Any], __: object) -> None:
        if content.get("kind") == "stop":
            self.stop()
