"""A model for a notebook to work with: the trained one if there is one, else a small stand-in.

``make run`` trains ``runs/tiny``. Who opens the notebooks before that gets the preset ``smoke``,
trained within seconds: it has every part that the real one has, and babbles.
"""

from __future__ import annotations

from pathlib import Path

STAND_IN = "smoke"


def is_trained(folder: Path) -> bool:
    """It holds a finished model: its exam is written last."""
    return (folder / "eval.json").is_file() and (folder / "model.safetensors").is_file()


def ready_model(folder: str | Path) -> Path:
    """``folder`` if it holds a trained model; else its neighbour ``smoke``, trained if need be.

    Raises:
        UserError: the stand-in cannot be written.
    """
    wanted = Path(folder)
    if is_trained(wanted):
        return wanted
    stand_in = wanted.parent / STAND_IN
    if (stand_in / "model.safetensors").is_file():
        return stand_in
    from airust.gpt.presets import preset
    from airust.gpt.run import prepare

    run = prepare(preset(STAND_IN), stand_in, force=True)
    for _ in run.trainer:
        pass
    run.save()
    return stand_in
