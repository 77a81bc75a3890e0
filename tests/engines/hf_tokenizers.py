"""Tokenizers in the shapes of well-known models, trained on a few sentences.

======  ==========================================================================
qwen    NFC, split by a pattern, byte-level BPE; special tokens behind the vocabulary
llama3  the same without NFC; a beginning token before every text
phi     SentencePiece's: spaces as U+2581, one before every text, bytes as <0x41>;
        some special tokens swallow the white space behind them
llama2  the same with a beginning token, and by the newer Metaspace parts
======  ==========================================================================
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers import Tokenizer as Backend

from tests.conftest import SENTENCES

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPACE = "\u2581"
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|eot_id|>")
PHI = ("<|endoftext|>", "<|assistant|>", "<|end|>", "<|system|>", "<|user|>")

TEMPLATES = {
    "qwen": (
        "{%- if messages[0].role != 'system' %}"
        "{{- '<|im_start|>system\nBe kind.<|im_end|>\n' }}{%- endif %}"
        "{%- for m in messages %}"
        "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
    ),
    "llama3": (
        "{{- bos_token }}{%- for m in messages %}"
        "{{- '<|start_header_id|>' + m.role + '\n\n' + m.content | trim + '<|eot_id|>' }}"
        "{%- endfor %}{%- if add_generation_prompt %}"
        "{{- '<|start_header_id|>assistant\n\n' }}{%- endif %}"
    ),
    "phi": (
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
        "{% else %}{{ eos_token }}{% endif %}"
    ),
    "llama2": (
        "{% for m in messages %}{% if m.role == 'user' %}"
        "{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
}
# Special tokens by their part, and all ends of an answer as generation_config.json has them.
PARTS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "qwen": ({"eos_token": "<|im_end|>"}, ("<|im_end|>", "<|endoftext|>")),
    "llama3": (
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        ("<|end_of_text|>", "<|eot_id|>"),
    ),
    "phi": (
        {"bos_token": "<s>", "eos_token": "<|endoftext|>", "unk_token": "<unk>"},
        ("<|end|>", "<|assistant|>", "<|endoftext|>"),
    ),
    "llama2": ({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, ("</s>",)),
}


def backend(kind: str) -> Backend:
    """A tokenizer by its kind."""
    return _byte_level(kind) if kind in ("qwen", "llama3") else _sentence_piece(kind)


def _byte_level(kind: str) -> Backend:
    made = Backend(models.BPE(ignore_merges=kind == "llama3"))
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    made.decoder = decoders.ByteLevel()
    special = CHATML if kind == "qwen" else LLAMA3
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    made.train_from_iterator(SENTENCES * 3, trainer)
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    level_end: Any = processors.ByteLevel(trim_offsets=False)
    if kind == "qwen":
        made.normalizer = normalizers.NFC()
        made.post_processor = level_end
    else:
        made.post_processor = processors.Sequence([level_end, _beginning(made, LLAMA3[0])])
    return made


def _sentence_piece(kind: str) -> Backend:
    made = Backend(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if kind == "phi":
        steps = [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
        made.normalizer = normalizers.Sequence(steps)
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=460,
        show_progress=False,
        max_token_length=8,  # whole sentences are words here
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
    )
    made.train_from_iterator([s.replace("水", "water") for s in SENTENCES * 3], trainer)
    made.add_special_tokens([AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    if kind == "phi":
        made.add_special_tokens([AddedToken(t, normalized=False, rstrip=True) for t in PHI])
    else:
        made.post_processor = _beginning(made, "<s>")
    made.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    # The trainer made special tokens of the bytes, too; in real files they are ordinary ones.
    spec = json.loads(made.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if not t["content"].startswith("<0x")]
    found: Backend = Backend.from_str(json.dumps(spec))
    return found


def _beginning(made: Backend, token: str) -> Any:
    pair, ids = f"{token} $A {token} $B", [(token, made.token_to_id(token))]
    return processors.TemplateProcessing(single=f"{token} $A", pair=pair, special_tokens=ids)


def write_tokenizer(kind: str, folder: Path, size: int = 0) -> Backend:
    """Its files as a model folder has them, generation settings included.

    Args:
        size: unused tokens are added up to this number, as some models have them.
    """
    made, (parts, ends) = backend(kind), PARTS[kind]
    made.add_tokens([f"<unused {i}>" for i in range(made.get_vocab_size(), size)])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATES[kind],
        **parts,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    generation = {"eos_token_id": [made.token_to_id(token) for token in ends]}
    (folder / "generation_config.json").write_text(json.dumps(generation), "utf-8")
    return made
