"""GGUF files: what is written comes back, and what cannot be written is refused."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize, quantize
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from airust.gpt import gguf as gguf_module
from airust.gpt.checkpoint import save_model
from airust.gpt.config import GPTConfig
from airust.gpt.gguf import (
    TYPES,
    deinterleave,
    folder_fingerprint,
    gguf_source,
    interleave,
    load_gguf,
    load_gguf_tokenizer,
    save_gguf,
)
from airust.gpt.gguf_reader import GGUFFile
from airust.gpt.gguf_tokenizer import QWEN_SPLIT
from airust.gpt.model import GPT
from airust.gpt.tokenizer import (
    CHAT_TEMPLATE,
    SPECIAL_TOKENS,
    Tokenizer,
    character_tokenizer,
    train_bpe,
)
from airust.types import UserError

FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"head_dim": 24},
    "qwen2": {"qk_norm": False, "qkv_bias": True, "rope_theta": 1e6},
    "llama": {"qk_norm": False, "head_dim": 12, "tie_embeddings": False, "norm_eps": 1e-5},
    "llama, one kv head": {"qk_norm": False, "kv_heads": 1},
}
TEXTS = [
    "The capital of France is Paris. 法国的首都是巴黎。",
    "It's  a   test\n\n\t tabs, don't we'll 12345 67",
    "🦀🎉 emoji 👩‍👩‍👧 ﬁ e\u0301 é",
    "\x00\x01\x7f control \u00a0 nbsp \u3000全角",
    "<|im_start|>user\nspelled out<|im_end|>",
    " leading, trailing  ",
    "\n",
    "\r\n\r\n  \t",
    'fn main() { println!("{:?}", vec![1, 2]); }',
    "<0x41> ħĠĊ \u2028\u2029",
]


def random_texts(count: int = 200) -> list[str]:
    """Strings of characters from everywhere in Unicode, surrogates left out."""
    rng = random.Random(7)
    blocks = [(0, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF)]
    blocks += [(0x2000, 0x206F), (0x600, 0x6FF), (0xE000, 0x10FFFF)]
    return [
        "".join(chr(rng.randint(*rng.choice(blocks))) for _ in range(rng.randint(1, 12)))
        for _ in range(count)
    ]


def qwen_tokenizer() -> Tokenizer:
    """A tokenizer in the form of Qwen2's tokenizer.json, with a token that is added but plain."""
    plain = train_bpe(TEXTS * 3, 330)
    spec = json.loads(plain.backend.to_str())["model"]
    kept = {t: i - len(SPECIAL_TOKENS) for t, i in spec["vocab"].items() if t not in SPECIAL_TOKENS}
    backend = Backend(models.BPE(vocab=kept, merges=[tuple(pair) for pair in spec["merges"]]))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
    backend.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    return Tokenizer(backend)


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "bpe": lambda: train_bpe(TEXTS * 3, 400),
    "qwen": qwen_tokenizer,
    "character": lambda: character_tokenizer(TEXTS[:2]),
}


def write_model(folder: Path, tokenizer: Tokenizer, unused: int = 5, **flags: Any) -> GPT:
    """A small random model with ``unused`` rows more than the tokenizer has tokens."""
    sizes: dict[str, Any] = {"hidden_size": 64, "layers": 2, "heads": 4, "kv_heads": 2}
    sizes |= {"head_dim": 16, "ffn_size": 96, "context": 64} | flags
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size + unused, **sizes)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.2, generator=generator)
    save_model(model, tokenizer, folder)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "crab"
    write_model(path, TOKENIZERS["bpe"]())
    return path


@pytest.fixture()
def file(folder: Path, tmp_path: Path) -> Path:
    save_gguf(folder, tmp_path / "crab.gguf")
    return tmp_path / "crab.gguf"


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_come_back(family: str, dtype: Any, tmp_path: Path) -> None:
    model = write_model(tmp_path, TOKENIZERS["bpe"](), **FAMILIES[family])
    save_gguf(tmp_path, tmp_path / "m.gguf", dtype)
    again, _ = load_gguf(tmp_path / "m.gguf")
    assert again.config == model.config
    for (name, a), (_, b) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        if dtype == "f32" or a.dim() == 1:
            assert torch.equal(a, b), name
        elif dtype == "bf16":
            assert torch.equal(a.bfloat16().float(), b), name
        else:
            # Half a step of the block's scale, which is itself rounded to 11 bits.
            scale = a.abs().amax() / 127
            assert (a - b).abs().max() <= scale * 0.57, name


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_tokenizer_comes_back(name: str, tmp_path: Path) -> None:
    tokenizer = TOKENIZERS[name]()
    write_model(tmp_path, tokenizer)
    save_gguf(tmp_path, tmp_path / "m.gguf")
    again = load_gguf_tokenizer(tmp_path / "m.gguf")
    assert again.vocab_size == tokenizer.vocab_size
    assert again.turn_end == tokenizer.turn_end
    for text in [*TEXTS, *random_texts(), "call <tool_call> now"]:
        ids = tokenizer.encode(text)
        assert again.encode(text) == ids, text
        assert again.decode(ids, skip_special=False) == tokenizer.decode(ids, skip_special=False)
    everything = list(range(tokenizer.vocab_size))
    assert again.decode(everything) == tokenizer.decode(everything)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_llama_cpp_tokenises_the_same(name: str, tmp_path: Path) -> None:
    llama = pytest.importorskip("airust.engines.llamacpp.context").library
    try:
        llama()
    except UserError:
        pytest.skip("llama-cpp-python is not installed")
    from airust.engines.llamacpp.context import LlamaContext
    from airust.engines.llamacpp.tokenizer import FileTokenizer

    tokenizer = TOKENIZERS[name]()
    write_model(tmp_path, tokenizer)
    save_gguf(tmp_path, tmp_path / "m.gguf")
    context = LlamaContext(tmp_path / "m.gguf", threads=1, sequences=1)
    try:
        theirs = FileTokenizer(tmp_path / "m.gguf", context)
        assert theirs.eos_ids == {tokenizer.turn_end, tokenizer.end_of_text}
        for text in TEXTS:
            if name == "qwen":
                text = normalizers.NFC().normalize_str(text)  # llama.cpp leaves that to others
            assert theirs.encode(text) == tokenizer.encode(text), text
            ids = tokenizer.encode(text)
            assert theirs.decode(ids) == tokenizer.decode(ids)
    finally:
        context.close()


def test_metadata(folder: Path, file: Path) -> None:
    tokenizer = Tokenizer.load(folder)
    fields = {key: field.contents() for key, field in GGUFReader(file).fields.items()}
    assert fields["general.architecture"] == "qwen3"
    assert fields["general.name"] == "crab"
    assert fields["tokenizer.chat_template"] == CHAT_TEMPLATE
    assert fields["tokenizer.ggml.eos_token_id"] == tokenizer.turn_end
    assert fields["tokenizer.ggml.eot_token_id"] == tokenizer.turn_end
    assert fields["tokenizer.ggml.padding_token_id"] == tokenizer.end_of_text
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.ggml.token_type"][tokenizer.turn_end] == 3
    assert fields["tokenizer.ggml.token_type"][-1] == 5  # a row that no token has


@pytest.mark.parametrize("dtype", TYPES)
def test_our_reader_and_the_gguf_packages_agree(dtype: Any, folder: Path, tmp_path: Path) -> None:
    save_gguf(folder, tmp_path / "m.gguf", dtype)
    ours, theirs = GGUFFile(tmp_path / "m.gguf"), GGUFReader(tmp_path / "m.gguf")
    for key, value in ours.values.items():
        assert theirs.fields[key].contents() == value, key
    assert len(ours.values) == len(theirs.fields) - 3  # it counts version and counts as fields
    assert set(ours.tensors) == {t.name for t in theirs.tensors}
    for tensor in theirs.tensors:
        expected = dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(ours.floats(tensor.name), expected), tensor.name


def test_a_format_that_we_do_not_write(file: Path) -> None:
    """Files from elsewhere hold matrices in many formats; gguf knows how to expand most."""
    stored = GGUFFile(file).floats("blk.0.ffn_up.weight")
    writer = GGUFWriter(file.parent / "foreign.gguf", "qwen3")
    for name, kind in (("a", GGMLQuantizationType.F16), ("b", GGMLQuantizationType.Q4_0)):
        writer.add_tensor(name, quantize(stored, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    foreign = GGUFFile(file.parent / "foreign.gguf")
    assert np.allclose(foreign.floats("a"), stored, atol=1e-3)
    assert np.allclose(foreign.floats("b"), stored, atol=0.1)


def test_the_folders_own_template_goes_along(tmp_path: Path) -> None:
    write_model(tmp_path, TOKENIZERS["bpe"]())
    (tmp_path / "chat_template.jinja").unlink()
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps({"chat_template": "{{ messages }}"}))
    save_gguf(tmp_path, tmp_path / "m.gguf")
    fields = GGUFReader(tmp_path / "m.gguf").fields
    assert fields["tokenizer.chat_template"].contents() == "{{ messages }}"


def test_rows_that_are_no_whole_blocks_stay_float32(tmp_path: Path) -> None:
    write_model(tmp_path, TOKENIZERS["bpe"](), ffn_size=80)
    save_gguf(tmp_path, tmp_path / "m.gguf", "q8_0")
    kinds = {t.name: t.tensor_type for t in GGUFReader(tmp_path / "m.gguf").tensors}
    assert kinds["blk.0.ffn_down.weight"] == GGMLQuantizationType.F32
    assert kinds["blk.0.ffn_up.weight"] == GGMLQuantizationType.Q8_0


def test_interleave_moves_rows_only() -> None:
    weight = torch.arange(48.0).reshape(16, 3)
    mixed = interleave(weight, heads=2)
    assert mixed[:, 0].div(3).tolist() == [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]
    assert torch.equal(deinterleave(mixed, heads=2), weight)


def test_the_fingerprint_changes_with_the_folder(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    save_gguf(copy, copy / "m.gguf")
    before = folder_fingerprint(copy)
    assert gguf_source(copy / "m.gguf") == before == folder_fingerprint(folder)
    write_model(copy, TOKENIZERS["bpe"](), context=32)
    assert folder_fingerprint(copy) != before


def unigram() -> Tokenizer:
    tokens = [(t, 0.0) for t in (*SPECIAL_TOKENS, "a", "b")]
    return Tokenizer(Backend(models.Unigram(tokens, unk_id=0)))


def stripping() -> Tokenizer:
    tokenizer = train_bpe(TEXTS, 300)
    tokenizer.backend.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    return tokenizer


def digits_apart() -> Tokenizer:
    tokenizer = train_bpe(TEXTS, 300)
    split = pre_tokenizers.Digits(individual_digits=True)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    return tokenizer


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (unigram, "only byte-level BPE"),
        (stripping, "strips its neighbours"),
        (digits_apart, "only byte-level BPE"),
        (lambda: train_bpe(["a"], 259), "without merges"),
        (lambda: character_tokenizer(["a\u2581"]), "U\\+2581"),
    ],
)
def test_a_tokenizer_that_gguf_cannot_hold(
    make: Callable[[], Tokenizer], words: str, tmp_path: Path
) -> None:
    write_model(tmp_path, make())
    with pytest.raises(UserError, match=words):
        save_gguf(tmp_path, tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*gguf*"))


def test_more_tokens_than_rows(tmp_path: Path) -> None:
    write_model(tmp_path, TOKENIZERS["bpe"](), unused=-1)
    with pytest.raises(UserError, match="vocabulary ends at"):
        save_gguf(tmp_path, tmp_path / "m.gguf")


def test_what_llama_cpp_could_not_load(tmp_path: Path) -> None:
    write_model(tmp_path, TOKENIZERS["bpe"](), qk_norm=False, qkv_bias=True, head_dim=24)
    with pytest.raises(UserError, match="reads a Qwen2 model only if"):
        save_gguf(tmp_path, tmp_path / "m.gguf")


def test_an_unknown_type(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'q3_k' is unknown; known: f32, bf16, q8_0"):
        save_gguf(folder, tmp_path / "m.gguf", "q3_k")  # type: ignore[arg-type]


def test_an_unwritable_place(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write"):
        save_gguf(folder, tmp_path / "file" / "m.gguf")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file size limit")
def test_a_full_disk_keeps_the_old_file(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def full(self: GGUFWriter) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GGUFWriter, "write_tensors_to_file", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_gguf(folder, file, "bf16")
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.001, 0.05, 0.5, 0.999])
def test_a_truncated_file(share: float, file: Path) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(UserError, match="truncated or not a GGUF file"):
        load_gguf(file)


def test_a_foreign_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        load_gguf(tmp_path / "missing.gguf")
    noise = np.random.default_rng(0).bytes(4096)
    for content in (b"not a model", b"GGUF" + b"\xff" * 64, noise, b"GGUF" + noise):
        (tmp_path / "m.gguf").write_bytes(content)
        with pytest.raises(UserError, match="truncated or not a GGUF file"):
            load_gguf(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("architecture", {"general.architecture": "mamba"}, "'mamba' is not supported"),
        ("rope", {"qwen3.rope.scaling.type": "yarn"}, "'yarn' is not supported"),
        ("tokenizer", {"tokenizer.ggml.model": "bert"}, "airust can rebuild"),
        ("split", {"tokenizer.ggml.pre": "deepseek-llm"}, "airust can rebuild"),
        ("types", {"tokenizer.ggml.token_type": [1]}, "without a type"),
        ("sizes", {"qwen3.embedding_length": 32}, "expected"),
        ("layers", {"qwen3.block_count": 1}, "airust does not know"),
        ("missing", {"qwen3.block_count": None}, "lacks qwen3.block_count"),
    ],
)
def test_metadata_that_is_not_covered(
    name: str,
    change: dict[str, Any],
    words: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Changed(GGUFFile):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.values |= change

    monkeypatch.setattr(gguf_module, "GGUFFile", Changed)
    with pytest.raises(UserError, match=words):
        load_gguf(file)
