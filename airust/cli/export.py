"""``airust export``: the same weights in a file that other programs read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from airust.cli.common import ModelOption, existing_model
from airust.types import UserError

EXAMPLE = "airust export --model runs/tiny --to gguf --out runs/tiny.gguf --dtype q8_0"


class Format(StrEnum):
    """What to write."""

    HF = "hf"
    GGUF = "gguf"


class Dtype(StrEnum):
    """How to store a weight."""

    F32 = "f32"
    BF16 = "bf16"
    Q8_0 = "q8_0"


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for hf, a file for gguf.")],
    to: Annotated[Format, typer.Option("--to", help="Hugging Face folder or llama.cpp file.")],
    model: ModelOption = None,
    dtype: Annotated[Dtype, typer.Option(help="q8_0 is for gguf only.")] = Dtype.F32,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write a model as a Hugging Face folder or a GGUF file."""
    source = existing_model(model)
    if not source.is_dir():
        raise UserError(f"'{source}' is not a model folder; export starts from one.")
    if to is Format.HF:
        _check_folder(source, out, force)
        _write_folder(source, out, dtype)
    else:
        _check_file(out, force)
        from airust.gpt.gguf import save_gguf

        save_gguf(source, out, dtype.value)
    typer.echo(f"Wrote {out} ({_megabytes(out):.1f} MB).")


def _check_folder(source: Path, out: Path, force: bool) -> None:
    if out.is_file():
        raise UserError(f"'{out}' is a file; a Hugging Face export needs a folder.")
    if out.exists() and out.samefile(source):
        raise UserError(f"'{out}' is the model itself; choose another --out.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise UserError(f"'{out}' is not empty; --force overwrites the model files in it.")


def _check_file(out: Path, force: bool) -> None:
    if out.is_dir():
        raise UserError(f"'{out}' is a folder; name a file, for example {out / 'model.gguf'}.")
    if out.exists() and not force:
        raise UserError(f"'{out}' is already there; --force overwrites it.")


def _write_folder(source: Path, out: Path, dtype: Dtype) -> None:
    if dtype is Dtype.Q8_0:
        raise UserError("q8_0 is a GGUF format; a Hugging Face folder takes f32 or bf16.")
    import torch

    from airust.engines.model_tokenizer import ModelTokenizer
    from airust.gpt.checkpoint import load_model, save_model

    weights = torch.bfloat16 if dtype is Dtype.BF16 else torch.float32
    save_model(load_model(source), ModelTokenizer.load(source), out, weights)


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()]
    return sum(p.stat().st_size for p in files) / 1e6
