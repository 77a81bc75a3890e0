"""The same weights in another format."""

import pytest

from airust.gpt.checkpoint import load_model
from airust.gpt.tokenizer import Tokenizer


def test_a_folder_holds_the_same_model(airust, model_dir, tmp_path):
    out = tmp_path / "copy"
    done = airust("export", "--model", str(model_dir), "--to", "hf", "--out", str(out))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Wrote {out} (")
    ours, theirs = load_model(model_dir), load_model(out)
    assert ours.config == theirs.config
    assert all((a == b).all() for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert Tokenizer.load(out).encode("hello 水") == Tokenizer.load(model_dir).encode("hello 水")


def test_bf16_halves_the_weights(airust, model_dir, tmp_path):
    sizes = {}
    for dtype in ("f32", "bf16"):
        out = tmp_path / dtype
        args = ("--to", "hf", "--dtype", dtype, "--out", str(out))
        assert airust("export", "--model", str(model_dir), *args).exit_code == 0
        sizes[dtype] = (out / "model.safetensors").stat().st_size
    assert 0.45 < sizes["bf16"] / sizes["f32"] < 0.6


@pytest.mark.parametrize("dtype", ["f32", "bf16", "q8_0"])
def test_gguf_is_one_file(airust, model_dir, tmp_path, dtype):
    out = tmp_path / "new" / "model.gguf"
    args = ("--to", "gguf", "--dtype", dtype, "--out", str(out))
    done = airust("export", "--model", str(model_dir), *args)
    assert (done.exit_code, done.stderr) == (0, "")
    assert out.read_bytes()[:4] == b"GGUF"


def test_nothing_is_overwritten_without_force(airust, model_dir, tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "model.gguf"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    file.write_text("mine")
    for to, out in (("hf", folder), ("gguf", file)):
        args = ("export", "--model", str(model_dir), "--to", to, "--out", str(out))
        done = airust(*args)
        assert done.exit_code == 2
        assert "--force" in done.stderr
        assert airust(*args, "--force").exit_code == 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert file.read_bytes()[:4] == b"GGUF"


def test_mistakes(airust, model_dir, tmp_path):
    file = tmp_path / "file"
    file.touch()
    model = str(model_dir)
    for args, sentence in (
        (["--to", "hf", "--out", model, "--model", model, "--force"], "is the model itself"),
        (["--to", "hf", "--out", str(file), "--model", model], "needs a folder"),
        (["--to", "gguf", "--out", str(tmp_path), "--model", model], "name a file"),
        (["--to", "gguf", "--out", "x.gguf", "--model", str(file)], "is not a model folder"),
        (["--to", "gguf", "--out", "x.gguf", "--model", str(tmp_path)], "config.json is missing"),
        (["--to", "hf", "--dtype", "q8_0", "--out", "x", "--model", model], "q8_0 is a GGUF"),
        (["--to", "hf", "--out", str(file / "x"), "--model", model], "Cannot write"),
        (["--to", "gguf", "--out", "x.gguf"], "--model"),
    ):
        done = airust("export", *args)
        assert done.exit_code == 2, done.output
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
