"""Where a model's files are: a folder, a GGUF file, or a name at the Hugging Face hub."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from airust.engines.worker import first_line
from airust.types import UserError

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
HUB_FILES = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")  # no second copy of weights


def find_model(model: str | Path, gguf: bool = False) -> Path:
    """A folder with config.json and tokenizer.json, or a GGUF file; a hub name is downloaded.

    Args:
        gguf: the engine reads GGUF files.

    Raises:
        UserError: it is not there, is not a model, or cannot be downloaded.
    """
    path = Path(model)
    if path.is_dir():
        for name in ("config.json", "tokenizer.json"):
            if not (path / name).is_file():
                raise UserError(f"There is no model in '{path}': {name} is missing.")
        return path
    if path.is_file():
        if gguf and path.suffix == ".gguf":
            return path
        raise UserError(f"'{path}' is a file, but this engine wants a model folder.")
    if not path.is_absolute() and HUB_NAME.fullmatch(str(model)) and not path.parent.exists():
        return _download(str(model))
    raise UserError(f"There is no model at '{model}'.")


def _download(name: str) -> Path:
    """The hub's files in its own cache; without a network what the cache already holds."""
    from huggingface_hub import snapshot_download

    try:
        with _without_progress_bars():
            return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # many kinds: network, access, disk
        raise UserError(_why_not(name, error)) from error


def _why_not(name: str, error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):  # also of a half-filled cache
        switched_off = isinstance(error.__cause__, errors.OfflineModeIsEnabled)
        reason = "HF_HUB_OFFLINE is set" if switched_off else "the hub cannot be reached"
        return (
            f"'{name}' is neither a folder here nor complete in the Hugging Face cache, and it "
            f"cannot be downloaded, because {reason}; "
            f"go online once, or give a folder that holds the model."
        )
    if isinstance(error, errors.GatedRepoError):
        return (
            f"'{name}' is only for those who accept its licence: "
            f"do so at the Hugging Face hub, then log in with `hf auth login`."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"'{name}' is neither a folder here nor a public model at the Hugging Face hub."
    return (
        f"'{name}' is neither a folder here nor a model that can be downloaded: "
        f"{first_line(error)}."
    )


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            enable_progress_bars()
