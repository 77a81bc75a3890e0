"""A model as a Hugging Face folder: read it, write it.

``config.json``, ``model.safetensors``, ``tokenizer.json`` and the chat template: what
transformers, mistral.rs and candle load as it is. Every file is written under a temporary name
and renamed, so that a crash never leaves half a file under the real one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from airust.files import write_atomic, write_json, write_text
from airust.gpt.config import GPTConfig
from airust.gpt.fused import fuse, unfuse
from airust.gpt.hf_config import config_from_hf, hf_config
from airust.gpt.model import GPT
from airust.gpt.rope import rotary_table
from airust.gpt.tokenizer import Tokenizer
from airust.types import UserError


def hf_name(name: str) -> str:
    """Our parameter name as Hugging Face checkpoints spell it."""
    return name if name.startswith("lm_head.") else f"model.{name}"


def save_model(
    model: GPT, tokenizer: Tokenizer, folder: Path, dtype: torch.dtype = torch.float32
) -> None:
    """Write a Hugging Face folder, in float32 unless asked otherwise.

    Raises:
        UserError: the folder cannot be written.
    """
    tensors = {
        hf_name(name): tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in model.named_parameters()  # a tied head is listed once
    }
    if model.config.fused:
        tensors = fuse(model.config, tensors)

    def write(path: Path) -> None:
        try:
            save_file(tensors, path, metadata={"format": "pt"})
        except SafetensorError as error:  # what it says of a full disk
            raise OSError(str(error)) from error

    write_atomic(folder / "model.safetensors", write)
    eos_ids = list(tokenizer.eos_ids)
    settings = hf_config(model.config, eos_ids)
    settings["torch_dtype"] = settings["dtype"] = str(dtype).removeprefix("torch.")
    write_json(folder / "config.json", settings)
    write_json(
        folder / "generation_config.json",
        {"eos_token_id": eos_ids, "do_sample": False},
    )
    for name, text in tokenizer.files().items():
        write_text(folder / name, text)


def read_config(folder: Path) -> GPTConfig:
    """Read config.json of a model folder.

    Raises:
        UserError: it is missing, broken or foreign.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"There is no model in '{folder}': config.json is missing.")
    return config_from_hf(read_object(path))


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except ValueError as error:  # not JSON, not UTF-8
        raise UserError(f"'{path}' is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise UserError(f"'{path}' is not a JSON object.")
    return values


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: one, or the shards that its index names.

    Raises:
        UserError: a file is missing, or the index is broken.
    """
    index = folder / "model.safetensors.index.json"
    names: Iterable[str] = ["model.safetensors"]
    if index.is_file():
        table = read_object(index).get("weight_map")
        if not isinstance(table, dict) or not table:
            raise UserError(f"'{index}' has no weight_map.")
        names = sorted(set(table.values()))
    for name in names:
        if not (folder / name).is_file():
            raise UserError(f"There are no weights in '{folder}': {name} is missing.")
    return [folder / name for name in names]


def load_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, from one safetensors file or its shards.

    Raises:
        UserError: a file is missing or truncated.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        try:
            tensors |= load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"'{path}' is truncated or not a safetensors file ({error})."
            ) from error
    return tensors


def load_model(folder: Path, dtype: torch.dtype | None = torch.float32) -> GPT:
    """Read a Hugging Face folder into our model, ready for inference.

    Args:
        dtype: of the weights; None leaves them as they are stored.

    Raises:
        UserError: a file is missing, truncated, or does not fit config.json.
    """
    config = read_config(folder)
    return model_from_tensors(config, load_tensors(folder), folder, dtype)


def model_from_tensors(
    config: GPTConfig,
    tensors: dict[str, torch.Tensor],
    source: Path,
    dtype: torch.dtype | None = torch.float32,
) -> GPT:
    """A model of these weights, ready for inference.

    Args:
        tensors: by their names in Hugging Face checkpoints; emptied on the way.
        source: the file or folder that an error names.
        dtype: of the model, whatever the tensors have; None leaves them as they are.

    Raises:
        UserError: a tensor is missing, has another shape than the config says, or is unknown.
    """

    def take(key: str, shape: tuple[int, ...]) -> torch.Tensor:
        tensor = tensors.pop(key, None)
        if tensor is None or tuple(tensor.shape) != shape:
            found = "missing" if tensor is None else f"{tuple(tensor.shape)}"
            raise UserError(
                f"The weights in '{source}' do not fit its settings: {key} is {found}, "
                f"expected {shape}."
            )
        return tensor

    with torch.device("meta"):  # shapes only: no memory, no draw from the random generator
        model = GPT(config)
    if config.fused:
        tensors |= unfuse(config, take)
    state: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        tensor = take(hf_name(name), tuple(parameter.shape))
        state[name] = tensor if dtype is None else tensor.to(dtype)
    if config.tie_embeddings:
        tensors.pop("lm_head.weight", None)  # some writers store the tied copy too
    extra = [name for name in tensors if not name.endswith("rotary_emb.inv_freq")]
    if extra:
        raise UserError(f"The weights in '{source}' hold an unknown tensor: {extra[0]}.")
    model.load_state_dict(state, strict=False, assign=True)
    if config.tie_embeddings:
        model.lm_head.tie(model.embed_tokens)
    model.rope_cos, model.rope_sin = rotary_table(config)
    return model.eval()
