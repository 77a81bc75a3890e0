"""One question, the answer alone on stdout."""

from pathlib import Path

import pytest

from airust.cli import ask as ask_command
from airust.engines.dummy import DummyEngine
from tests.conftest import RECITED
from tests.engines.conftest import stub_of
from tests.engines.stubs.openai_server import OpenAIStub


def test_the_answer_alone_is_on_stdout(airust):
    done = airust("ask", "--engine", "dummy", "What is 水?")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "What is 水?\n", "")


def test_dash_reads_standard_input(airust):
    done = airust("ask", "--engine", "dummy", "-", stdin="水为什么往低处流？\n")
    assert (done.exit_code, done.stdout) == (0, "水为什么往低处流？\n")


def test_options_reach_the_engine(airust, monkeypatch):
    seen = []

    class Recorder(DummyEngine):
        def prepare(self, request):
            seen.append(request)
            return super().prepare(request)

    monkeypatch.setattr(ask_command, "open_engine", lambda name, model: Recorder())
    sampling = ("--temperature", "0.5", "--max-tokens", "2", "--seed", "7")
    done = airust("ask", *sampling, "--system", "Be brief.", "a b c d")
    assert done.stdout == "a b\n"
    assert "cut after 2 tokens" in done.stderr
    assert [(m.role, m.content) for m in seen[0].messages] == [
        ("system", "Be brief."),
        ("user", "a b c d"),
    ]
    assert (seen[0].params.temperature, seen[0].params.seed) == (0.5, 7)


@pytest.mark.parametrize(
    ("args", "stdin", "sentence"),
    [
        (["hello"], "", "Say which model with --model; `airust train --preset tiny"),
        (["-m", "no/such/model", "x"], "", "There is no model at 'no/such/model'; `airust train"),
        (["-m", "runs/none", "hello"], "", "There is no model at 'runs/none'; `airust train"),
        (["-m", "none", "hello"], "", "There is no model at 'none'; `airust train"),
        (["-e", "openai", "x"], "", "Say with --model which of the server's models, by the"),
        (["-e", "dummy", "  "], "", "The question is empty."),
        (["-e", "dummy", "-"], b"\xff\xfe", "Standard input is not UTF-8 text."),
        (["-e", "dummy", "--temperature", "-1", "x"], "", "temperature is -1.0 but must be"),
        (["-e", "dummy", "--max-tokens", "0", "x"], "", "max_tokens is 0 but must be"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_2(airust, args, stdin, sentence):
    done = airust("ask", *args, stdin=stdin)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"Error: {sentence}")
    assert done.stderr.count("\n") == 1


def test_an_unknown_engine_is_named_with_the_known_ones(airust, tmp_path: Path):
    done = airust("ask", "--model", str(tmp_path), "--engine", "warp", "hello")
    assert done.exit_code == 2
    assert "'warp'" in done.stderr and "mistralrs" in done.stderr


@pytest.mark.parametrize("engine", ["transformers", "mistralrs"])
def test_engines_answer_with_the_same_words(airust, model_dir, engine):
    def answer(name: str) -> str:
        args = ("--model", str(model_dir), "--engine", name, "--max-tokens", "24")
        done = airust("ask", *args, "What is the capital of France?")
        assert done.exit_code == 0, done.stderr
        return done.stdout

    assert answer(engine) == answer("torch")


def test_a_servers_address_is_a_model(airust, reciter_dir):
    with stub_of(OpenAIStub, reciter_dir, "reciter") as stub:
        args = ("--model", stub.url, "--engine", "openai", "--max-tokens", "20")
        done = airust("ask", *args, "Recite.")
    assert (done.exit_code, done.stdout) == (0, f"{RECITED * 2}\n"), done.stderr
