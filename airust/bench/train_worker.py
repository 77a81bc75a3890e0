"""One launch of training in a process of its own: so many steps of a preset, each one timed."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from airust.bench.host import peak_memory_bytes, thread_settings


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """The worker's side: seconds, tokens and loss of every step, warm-up included."""
    import torch

    from airust.gpt.memory import keep_freed_memory
    from airust.gpt.presets import preset
    from airust.gpt.run import prepare
    from airust.gpt.train import flops_per_token

    keep_freed_memory()  # as `airust train` does
    torch.set_num_threads(job["threads"])
    start = time.perf_counter()
    config = preset(
        job["preset"], steps=job["steps"], precision=job["precision"], validate_every=0,
        checkpoint_every_s=1e9, seed=job["seed"],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trainer = prepare(config, Path(folder) / "run").trainer
        result: dict[str, Any] = {
            "error": None,
            "load_s": time.perf_counter() - start,
            "parameters": trainer.model.parameter_count(),
            "dtype": str(trainer.dtype).removeprefix("torch."),
            "flops_per_token": flops_per_token(trainer.model, config.length),
            "ceiling_flops": trainer.ceiling,
            "tokens_a_step": config.rows * config.length,
            "data_sha256": trainer.source.sha256,
        }
        records = list(trainer)
    result["losses"] = [record.loss for record in records]
    result["rates"] = [record.tokens_per_s for record in records]
    result["steps_s"] = [
        after - before
        for before, after in zip(
            [0.0, *(r.elapsed_s for r in records)], [r.elapsed_s for r in records], strict=False
        )
    ]
    result["peak_memory_bytes"] = peak_memory_bytes()
    result["cpu_s"] = time.process_time()
    result["threads"] = thread_settings()
    return result
