"""The training loop, as an iterator of step records.

A terminal bar, a notebook plot and a test all consume the same thing:

    for record in trainer:
        print(record.step, record.loss)

After ``kill -9`` a trainer made with ``resume=True`` goes on from the last checkpoint and gives
the same losses as an undisturbed run. Ctrl+C ends the loop after the current step, with a
checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from airust.files import write_atomic
from airust.gpt.data import IGNORE, Batch, Source
from airust.gpt.distributed import Place
from airust.gpt.loss import NextTokenLoss
from airust.gpt.model import GPT
from airust.gpt.optimizer import lr_factor, make_optimizers, set_lr
from airust.gpt.precision import compute_dtype, matmul_flops
from airust.gpt.presets import TrainConfig
from airust.types import UserError

CHECKPOINT = "training.pt"
METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one optimiser step did. A line of metrics.jsonl."""

    step: int  # 1 is the first
    steps: int  # of the whole run
    loss: float  # nats a learned token, mean over the global batch
    lr: float  # share of the peak learning rate
    grad_norm: float  # before clipping
    tokens: int  # seen so far, padding not counted
    tokens_per_s: float  # of this step
    mfu: float  # share of the matrix rate measured on this machine
    elapsed_s: float  # training time so far, over all resumes
    epoch: int
    val_loss: float | None = None  # nats a token, where it was measured


class Trainer:
    """Trains a model on a source of batches and keeps its folder.

    Raises:
        UserError: ``resume`` and the folder's checkpoint is from other settings or broken; or
            not ``resume`` and the folder holds an unfinished run.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: GPT,
        source: Source,
        out: Path,
        *,
        validation: list[Batch] | None = None,
        place: Place | None = None,
        resume: bool = False,
    ) -> None:
        self.config, self.source, self.out = config, source, out
        self.place = place or Place()
        self.validation = validation or []
        self.model = model.to(self.place.device)
        self.loss = NextTokenLoss(self.model)
        self.parallel = DistributedDataParallel(self.loss) if self.place.world > 1 else self.loss
        self.dtype = _dtype(config, self.place.device)
        self.optimizers = make_optimizers(self.model, config.optimizer, self.dtype)
        kind = self.place.device.split(":")[0]
        self.ceiling = matmul_flops(self.dtype, kind) * self.place.world
        self.step = self.tokens = 0
        self.elapsed_s = 0.0
        self._stop = threading.Event()
        if resume and (out / CHECKPOINT).is_file():
            self._load()

    @property
    def finished(self) -> bool:
        """All steps are done."""
        return self.step >= self.config.steps

    @property
    def interrupted(self) -> bool:
        """``stop`` was called, or Ctrl+C pressed."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the loop after the current step, with a checkpoint. Safe from any thread."""
        self._stop.set()

    def __iter__(self) -> Iterator[StepRecord]:
        """Train to the end, yielding each step's record."""
        metrics = self._open_metrics()
        saved = time.monotonic()
        with _ctrl_c_stops(self), metrics:
            for batch in self.source.batches(self.step):
                if self.finished or self.interrupted:
                    break
                record = self._train_step(batch)
                if self.place.is_first:
                    metrics.write(json.dumps(asdict(record)) + "\n")
                    metrics.flush()
                    if time.monotonic() - saved > self.config.checkpoint_every_s:
                        self.save()
                        saved = time.monotonic()
                yield record
        if self.place.is_first:
            self.save()

    def _train_step(self, batch: Batch) -> StepRecord:
        start = time.perf_counter()
        factor = lr_factor(self.step, self.config.steps, self.config.optimizer)
        set_lr(self.optimizers, factor)
        loss = self._backward(batch)
        clip = self.config.optimizer.grad_clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        loss_value = float(loss)  # also waits for a GPU
        seconds = time.perf_counter() - start
        self.step += 1
        self.tokens += batch.tokens
        self.elapsed_s += seconds
        rate = batch.tokens / seconds
        return StepRecord(
            self.step,
            self.config.steps,
            loss_value,
            factor,
            float(norm),
            self.tokens,
            rate,
            rate * flops_per_token(self.model, self.config.length) / self.ceiling,
            self.elapsed_s,
            batch.epoch,
            self._validate_now(),
        )

    def _backward(self, batch: Batch) -> Tensor:
        """Gradients of the mean loss over the global batch; returns that mean."""
        place, parts = self.place, self.config.accumulate
        count = int((batch.targets != IGNORE).sum())
        share = batch.rows(place.rank, place.world)
        total = torch.zeros((), device=place.device)
        for part in range(parts):
            micro = share.rows(part, parts)
            last = part == parts - 1
            # gradients are exchanged once, with the last micro-batch
            wait = (
                self.parallel.no_sync()
                if isinstance(self.parallel, DistributedDataParallel) and not last
                else contextlib.nullcontext()
            )
            with wait:
                loss = self._loss(micro) / max(1, count)
                # DDP averages over processes, but each already divides by the global count
                (loss * place.world).backward()
            total += loss.detach()
        if place.world > 1:
            torch.distributed.all_reduce(total)
        return total

    def _loss(self, batch: Batch) -> Tensor:
        device = self.place.device
        mask = None if batch.mask is None else batch.mask.to(device)
        enabled = self.dtype != torch.float32
        with torch.autocast(device.split(":")[0], self.dtype, enabled=enabled):
            loss: Tensor = self.parallel(batch.inputs.to(device), batch.targets.to(device), mask)
        return loss

    def _validate_now(self) -> float | None:
        every = self.config.validate_every
        if not self.validation or not every:
            return None
        due = self.step % every == 0 or self.finished
        return self.validate(self.validation) if due else None

    @torch.no_grad()
    def validate(self, batches: list[Batch]) -> float:
        """Mean loss over given batches in nats a token, without learning from them."""
        total = sum(float(self._evaluate(batch)) for batch in batches)
        count = sum(int((batch.targets != IGNORE).sum()) for batch in batches)
        return total / count

    def _evaluate(self, batch: Batch) -> Tensor:
        device = self.place.device
        mask = None if batch.mask is None else batch.mask.to(device)
        enabled = self.dtype != torch.float32
        with torch.autocast(device.split(":")[0], self.dtype, enabled=enabled):
            loss: Tensor = self.loss(batch.inputs.to(device), batch.targets.to(device), mask)
        return loss

    def save(self) -> None:
        """Write the checkpoint: weights, optimisers, position in the data, generator state."""
        state = {
            "config": self.config.to_dict(),
            "data_sha256": self.source.sha256,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "tokens": self.tokens,
            "elapsed_s": self.elapsed_s,
            "rng": torch.get_rng_state(),
        }
        write_atomic(self.out / CHECKPOINT, lambda path: torch.save(state, path))

    def _load(self) -> None:
        state = read_checkpoint(self.out)
        if state["config"] != self.config.to_dict():
            raise UserError(
                f"The run in '{self.out}' was started with other settings; "
                f"give those again, or another --out."
            )
        if state["data_sha256"] != self.source.sha256:
            raise UserError(f"The run in '{self.out}' was started on other data.")
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens = state["step"], state["tokens"]
        self.elapsed_s = state["elapsed_s"]
        torch.set_rng_state(state["rng"])

    def _open_metrics(self) -> Any:
        """metrics.jsonl for appending, without lines after the checkpoint's step."""
        if not self.place.is_first:
            return contextlib.nullcontext()
        path = self.out / METRICS
        kept = []
        if path.is_file() and self.step:
            lines = path.read_text("utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= self.step]
        write_atomic(path, lambda p: p.write_text("".join(f"{k}\n" for k in kept), "utf-8"))
        return path.open("a", encoding="utf-8")


def read_checkpoint(out: Path) -> dict[str, Any]:
    """The state in a run's folder.

    Raises:
        UserError: it is missing, truncated or not ours.
    """
    path = out / CHECKPOINT
    try:
        state = torch.load(path, weights_only=True)
        if not isinstance(state, dict) or "optimizers" not in state:
            raise ValueError("it holds something else")
    except FileNotFoundError:
        raise UserError(f"There is no checkpoint in '{out}' to resume from.") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UserError(
            f"The checkpoint '{path}' is truncated or not one of airust ({reason})."
        ) from error
    return state


def flops_per_token(model: GPT, length: int) -> float:
    """Floating-point operations of one trained token, forward and backward.

    6 for each weight of a matrix product (Kaplan et al. 2020, section 2.1) plus attention:
    scores and their use cost 2 * 2 * T * H * D a layer forward, half of it behind the causal mask.
    """
    config = model.config
    table = config.vocab_size * config.hidden_size
    weights = model.parameter_count() - (0 if config.tie_embeddings else table)
    attention = 6 * config.layers * length * config.heads * config.head_dim
    return 6 * weights + attention


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 2**62  # half a line from a killed run


def _dtype(config: TrainConfig, device: str) -> torch.dtype:
    if config.precision == "auto":
        return compute_dtype(device.split(":")[0])
    dtype: torch.dtype = getattr(torch, config.precision)
    return dtype


@contextlib.contextmanager
def _ctrl_c_stops(trainer: Trainer) -> Iterator[None]:
    """The first Ctrl+C asks the trainer to stop, the second interrupts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        trainer.stop()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
