"""The two commands, their words and exit codes; the comparison is tested with the engines."""

import json

import pytest

QUESTION = "What is rain?"


@pytest.fixture
def saved(airust, model_dir, tmp_path):
    """A function that saves a capsule and gives its path."""

    def save(*args):
        path = tmp_path / "new" / "capsule.json"
        where = ("--model", str(model_dir), "--out", str(path))
        done = airust("replay", "save", *where, "--max-tokens", "8", *args, QUESTION)
        assert done.exit_code == 0, done.stderr
        assert "Wrote" in done.stderr and "8 tokens of torch" in done.stderr
        assert done.stdout.rstrip("\n") == json.loads(path.read_text("utf-8"))["recording"]["text"]
        return path

    return save


def test_an_exact_match(airust, saved, model_dir, tmp_path):
    path, file = saved(), tmp_path / "report.json"
    done = airust("replay", "run", str(path), "--model", str(model_dir), "--json", str(file))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Exact match: 8 tokens." in done.stdout
    assert "Logprobs of 8 tokens differ by at most" in done.stdout
    report = json.loads(file.read_text("utf-8"))
    assert (report["match"], report["mode"], report["engine"]) == (True, "replayed", "torch")


def test_options_are_kept_and_used_again(airust, saved, model_dir):
    path = saved(
        "--engine", "torch:dtype=bfloat16", "--temperature", "0.8", "--seed", "3", "--top-k", "9",
        "--system", "Be brief.",
    )  # fmt: skip
    values = json.loads(path.read_text("utf-8"))
    assert values["params"]["seed"] == 3 and values["params"]["top_k"] == 9
    assert [m["role"] for m in values["messages"]] == ["system", "user"]
    done = airust("replay", "run", str(path), "--model", str(model_dir))
    assert done.exit_code == 0
    assert "replay   torch:dtype=bfloat16" in done.stdout and "(bfloat16)" in done.stdout


def test_a_difference_is_shown_from_both_sides(airust, saved, model_dir):
    path = saved()
    values = json.loads(path.read_text("utf-8"))
    token = values["recording"]["tokens"][3]
    token["token_id"] = token["top"][1]["token_id"]
    path.write_text(json.dumps(values), "utf-8")
    done = airust("replay", "run", str(path), "--model", str(model_dir))
    assert done.exit_code == 1
    assert "First difference at token 4 of 8." in done.stdout
    assert "tied" not in done.stdout
    assert "capsule: torch" in done.stdout and "replay: torch" in done.stdout
    assert f"{token['top'][4]['logprob']:.4f}" in done.stdout


def test_a_tie_is_named(airust, saved, model_dir):
    path = saved()
    values = json.loads(path.read_text("utf-8"))
    token = values["recording"]["tokens"][3]
    first, second = token["top"][:2]
    token["token_id"], token["logprob"] = second["token_id"], first["logprob"]
    second["logprob"] = first["logprob"]
    path.write_text(json.dumps(values), "utf-8")
    done = airust("replay", "run", str(path), "--model", str(model_dir))
    assert (done.exit_code, "The two tokens are tied" in done.stdout) == (1, True)


def test_another_sampler_is_said(airust, saved, model_dir):
    path = saved("--temperature", "0.8", "--seed", "3")
    values = json.loads(path.read_text("utf-8"))
    values["recording"]["sampler"] = "other"
    path.write_text(json.dumps(values), "utf-8")
    done = airust("replay", "run", str(path), "--model", str(model_dir))
    assert done.exit_code == 0
    assert "Compared teacher-forced" in done.stdout
    assert "Agreement: 8 tokens." in done.stdout


def test_mistakes_are_one_sentence_and_exit_2(airust, saved, model_dir, reciter_dir, tmp_path):
    path = saved()
    other = tmp_path / "other.json"
    other.write_text("{}")
    model = ("--model", str(model_dir))
    save = ("replay", "save", *model, "--out")
    for args, sentence in (
        ((*save, str(path), QUESTION), f"'{path}' is already there; --force overwrites it."),
        ((*save, str(other.with_name("x")), " "), "The question is empty."),
        ((*save, "x", "-e", "dummy", QUESTION), "The engine 'dummy' does not support"),
        ((*save, "x", "-e", "openai", QUESTION), "The engine 'openai' asks a server"),
        ((*save, "x", "--temperature", "-1", QUESTION), "temperature is -1.0"),
        (("replay", "run", str(path)), "Say which model with --model"),
        (("replay", "run", str(other), *model), f"'{other}' is not a replay capsule"),
        (("replay", "run", str(path), *model, "-e", "warp"), "There is no engine 'warp'"),
        (("replay", "run", str(path), "-m", str(reciter_dir)), "The capsule's token ids mean"),
    ):
        done = airust(*args)
        assert done.exit_code == 2, args
        assert done.stderr.startswith(f"Error: {sentence}")
        assert done.stderr.count("\n") == 1
    done = airust(*save, str(path), "--max-tokens", "8", "--force", QUESTION)
    assert done.exit_code == 0
    assert not (tmp_path / "x").exists()
