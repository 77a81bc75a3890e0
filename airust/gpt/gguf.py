"""A model as one GGUF file, the format of llama.cpp: write it, read it.

The file holds metadata keys (sizes, the tokenizer, the chat template) and tensors under names of
its own. Three things differ from a Hugging Face folder:

* tensor names: ``model.layers.0.mlp.up_proj.weight`` is ``blk.0.ffn_up.weight``;
* llama.cpp turns neighbouring numbers (2i, 2i + 1) of a Llama's queries and keys, checkpoints
  pair i with i + D/2: the rows of ``q_proj`` and ``k_proj`` change places. Qwen's stay;
* matrices may be stored in fewer bits. ``q8_0`` keeps 32 numbers of a row as bytes with one common
  scale, 8.5 bits a number; norms, biases and rows that are no multiple of 32 long stay float32.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from gguf import (
    GGMLQuantizationType,
    GGUFWriter,
    Keys,
    LlamaFileType,
    quantize,
)

from airust.files import write_atomic
from airust.gpt.checkpoint import (
    hf_name,
    load_model,
    model_from_tensors,
    read_config,
    weight_files,
)
from airust.gpt.config import GPTConfig
from airust.gpt.fingerprint import file_sha256
from airust.gpt.gguf_reader import GGUFFile
from airust.gpt.gguf_tokenizer import add_tokenizer, read_tokenizer
from airust.gpt.model import GPT
from airust.gpt.tokenizer import CHAT_TEMPLATE, Tokenizer
from airust.types import UserError

T = TypeVar("T")
FAMILIES = ("qwen3", "qwen2", "llama")  # architectures of GGUF under the same names
GGUFType = Literal["f32", "bf16", "q8_0"]
TYPES: dict[str, tuple[GGMLQuantizationType, LlamaFileType]] = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
Q8_0_BLOCK = 32  # numbers that share a scale
SOURCE_KEY = "airust.source_sha256"  # folder_fingerprint of what a file was made from
VERSION = 1  # of what save_gguf writes; a change makes earlier conversions out of date

NAMES = {
    "model.embed_tokens.": "token_embd.",
    "model.norm.": "output_norm.",
    "lm_head.": "output.",
}
LAYER_NAMES = {
    "input_layernorm.": "attn_norm.",
    "self_attn.q_proj.": "attn_q.",
    "self_attn.k_proj.": "attn_k.",
    "self_attn.v_proj.": "attn_v.",
    "self_attn.o_proj.": "attn_output.",
    "self_attn.q_norm.": "attn_q_norm.",
    "self_attn.k_norm.": "attn_k_norm.",
    "post_attention_layernorm.": "ffn_norm.",
    "mlp.gate_proj.": "ffn_gate.",
    "mlp.up_proj.": "ffn_up.",
    "mlp.down_proj.": "ffn_down.",
}


def gguf_name(name: str) -> str:
    """A Hugging Face tensor name as GGUF spells it.

    >>> gguf_name("model.layers.3.self_attn.q_proj.bias")
    'blk.3.attn_q.bias'
    """
    if name.startswith("model.layers."):
        _, _, layer, rest = name.split(".", 3)
        part, _, kind = rest.rpartition(".")
        return f"blk.{layer}.{LAYER_NAMES[part + '.']}{kind}"
    part, _, kind = name.rpartition(".")
    return NAMES[part + "."] + kind


def interleave(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows (i, i + D/2) of each head side by side, as llama.cpp wants a Llama's q and k.

    >>> interleave(torch.arange(8), heads=2).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    halves = weight.reshape(heads, 2, -1, *weight.shape[1:])  # (H, 2, D/2, ...)
    return halves.transpose(1, 2).reshape(weight.shape)


def deinterleave(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The inverse of ``interleave``."""
    pairs = weight.reshape(heads, -1, 2, *weight.shape[1:])  # (H, D/2, 2, ...)
    return pairs.transpose(1, 2).reshape(weight.shape)


def save_gguf(model_dir: Path, out: Path, dtype: GGUFType = "f32") -> None:
    """Convert a Hugging Face folder to a GGUF file, written under a temporary name and renamed.

    Args:
        model_dir: a folder of the qwen3, qwen2 or llama family.
        out: the file to write; its folder is made.
        dtype: how matrices are stored.

    Raises:
        UserError: the folder is not a readable model, GGUF cannot hold its tokenizer, or the
            file cannot be written.
    """
    if dtype not in TYPES:
        raise UserError(f"The GGUF type '{dtype}' is unknown; known: {', '.join(TYPES)}.")
    _refuse_unreadable(read_config(model_dir))  # before gigabytes are read
    tokenizer, template = Tokenizer.load(model_dir), _chat_template(model_dir)
    model = load_model(model_dir)
    name, source = model_dir.resolve().name, folder_fingerprint(model_dir)

    def write(path: Path) -> None:
        writer = GGUFWriter(path, model.config.family)
        try:
            _add_config(writer, model.config, name, dtype)
            add_tokenizer(writer, tokenizer, model.config.vocab_size)
            writer.add_chat_template(template)
            writer.add_string(SOURCE_KEY, source)
            _add_tensors(writer, model, TYPES[dtype][0])
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()

    write_atomic(out, write)


def _refuse_unreadable(config: GPTConfig) -> None:
    scaling = config.rope_scaling
    uncovered = (
        (config.family not in FAMILIES, f"{config.family} models"),
        (scaling is not None, f"the rotary scaling '{scaling and scaling.kind}'"),
        (config.out_bias, "a bias on attention's output"),
    )
    for found, what in uncovered:
        if found:
            raise UserError(
                f"Our GGUF files do not cover {what} yet; use the Hugging Face folder itself."
            )
    if config.family == "qwen2" and config.heads * config.head_dim != config.hidden_size:
        raise UserError(
            f"llama.cpp reads a Qwen2 model only if heads x head_dim "
            f"({config.heads} x {config.head_dim}) is the hidden size ({config.hidden_size})."
        )


def _chat_template(folder: Path) -> str:
    """The folder's own template, or ChatML."""
    jinja, settings = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    try:
        if jinja.is_file():
            return jinja.read_text("utf-8")
        if settings.is_file():
            template = json.loads(settings.read_text("utf-8")).get("chat_template")
            return template if isinstance(template, str) else CHAT_TEMPLATE
    except (ValueError, OSError) as error:
        raise UserError(f"The chat template in '{folder}' is not readable: {error}.") from error
    return CHAT_TEMPLATE


def _add_config(writer: GGUFWriter, config: GPTConfig, name: str, dtype: str) -> None:
    writer.add_name(name)
    writer.add_file_type(TYPES[dtype][1])
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)


def _add_tensors(writer: GGUFWriter, model: GPT, matrices: GGMLQuantizationType) -> None:
    for ours, parameter in model.named_parameters():  # a tied head is listed once
        name = hf_name(ours)
        tensor = parameter.detach().to("cpu", torch.float32)
        if heads := _interleaved_heads(name, model.config):
            tensor = interleave(tensor, heads)
        kind = _stored_as(tensor, matrices)
        writer.add_tensor(gguf_name(name), quantize(tensor.numpy(), kind), raw_dtype=kind)


def _interleaved_heads(name: str, config: GPTConfig) -> int:
    """How many heads a tensor's rows are made of if GGUF reorders them, otherwise 0."""
    if config.family != "llama":
        return 0
    return {"q_proj": config.heads, "k_proj": config.kv_heads}.get(name.split(".")[-2], 0)


def _stored_as(tensor: torch.Tensor, matrices: GGMLQuantizationType) -> GGMLQuantizationType:
    whole_blocks = tensor.shape[-1] % Q8_0_BLOCK == 0
    if tensor.dim() < 2 or (matrices == GGMLQuantizationType.Q8_0 and not whole_blocks):
        return GGMLQuantizationType.F32
    return matrices


def load_gguf(path: Path) -> tuple[GPT, Tokenizer]:
    """Read a GGUF file of the qwen3, qwen2 or llama family into float32.

    Raises:
        UserError: the file is missing, truncated, of another architecture, or has a tokenizer or
            a feature that airust does not cover.
    """
    return _reading(path, lambda file: _load(path, file))


def load_gguf_tokenizer(path: Path) -> Tokenizer:
    """Only the tokenizer of a GGUF file.

    Raises:
        UserError: the file is missing or truncated, or its tokenizer is of another kind.
    """
    return _reading(path, lambda file: read_tokenizer(file.values))


def gguf_source(path: Path) -> str:
    """``folder_fingerprint`` of the folder that a file was made from; empty if it is not ours.

    Raises:
        UserError: the file is missing or truncated.
    """
    return _reading(path, lambda file: str(file.values.get(SOURCE_KEY, "")))


def folder_fingerprint(folder: Path) -> str:
    """SHA-256, in hexadecimal, of all that ``save_gguf`` reads of a folder, and of its version.

    Raises:
        UserError: a weight file is missing, or a file cannot be read.
    """
    total = hashlib.sha256(f"airust gguf {VERSION}".encode())
    settings = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    paths = [path for name in settings if (path := folder / name).is_file()]
    for path in [*paths, *weight_files(folder)]:
        total.update(f"{path.name} {file_sha256(path)}".encode())
    return total.hexdigest()


def _reading(path: Path, read: Callable[[GGUFFile], T]) -> T:
    if not path.is_file():
        raise UserError(f"There is no file '{path}'.")
    try:
        return read(GGUFFile(path))
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except NotImplementedError as error:
        raise UserError(f"'{path}' holds numbers in a form that airust cannot read.") from error
    # Sizes that are found in a damaged file can be anything.
    except (ValueError, LookupError, ArithmeticError, MemoryError, struct.error) as error:
        raise UserError(f"'{path}' is truncated or not a GGUF file.") from error


def _load(path: Path, file: GGUFFile) -> tuple[GPT, Tokenizer]:
    config = _config(file.values, tied="output.weight" not in file.tensors)
    unknown = set(file.tensors)
    tensors: dict[str, torch.Tensor] = {}
    for name in _expected_names(config):
        stored = gguf_name(name)
        if stored not in unknown:
            continue  # model_from_tensors says what is missing
        unknown.remove(stored)
        tensor = torch.from_numpy(file.floats(stored))
        heads = _interleaved_heads(name, config)
        tensors[name] = deinterleave(tensor, heads) if heads else tensor
    if unknown:
        raise UserError(f"'{path}' holds a tensor that airust does not know: {min(unknown)}.")
    return model_from_tensors(config, tensors, path), read_tokenizer(file.values)


def _expected_names(config: GPTConfig) -> list[str]:
    with torch.device("meta"):
        return [hf_name(name) for name, _ in GPT(config).named_parameters()]


def _config(values: dict[str, Any], tied: bool) -> GPTConfig:
    family = values.get(Keys.General.ARCHITECTURE)
    if family not in FAMILIES:
        raise UserError(
            f"The GGUF architecture '{family}' is not supported; supported: {', '.join(FAMILIES)}."
        )

    def value(key: str, default: Any = None) -> Any:
        found = values.get(key.format(arch=family), default)
        if found is None:
            raise UserError(f"The GGUF file lacks {key.format(arch=family)}.")
        return found

    if (scaling := value(Keys.Rope.SCALING_TYPE, "none")) != "none":
        raise UserError(f"The rotary scaling '{scaling}' is not supported yet.")
    heads, hidden = value(Keys.Attention.HEAD_COUNT), value(Keys.LLM.EMBEDDING_LENGTH)
    return GPTConfig(
        vocab_size=len(value(Keys.Tokenizer.LIST)),
        hidden_size=hidden,
        layers=value(Keys.LLM.BLOCK_COUNT),
        heads=heads,
        kv_heads=value(Keys.Attention.HEAD_COUNT_KV, heads),
        head_dim=value(Keys.Attention.KEY_LENGTH, hidden // heads),
        ffn_size=value(Keys.LLM.FEED_FORWARD_LENGTH),
        context=value(Keys.LLM.CONTEXT_LENGTH),
        rope_theta=_shortest(value(Keys.Rope.FREQ_BASE, 10_000.0)),
        norm_eps=_shortest(value(Keys.Attention.LAYERNORM_RMS_EPS)),
        qk_norm=family == "qwen3",
        qkv_bias=family == "qwen2",
        tie_embeddings=tied,
    )


def _shortest(value: float) -> float:
    """The number that was written: 9.999999974752427e-07 as float32 comes from 1e-06."""
    return float(str(np.float32(value)))
