"""Capsules: what is saved comes back; an answer that comes again is told from one that differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

from airust.engines.base import Engine
from airust.engines.capsule import Capsule, Recording, load_capsule, save_capsule, schema
from airust.engines.dummy import DummyEngine
from airust.engines.registry import load_engine
from airust.engines.replay import check_model, record, replay
from airust.gpt.checkpoint import load_model, save_model
from airust.gpt.gguf import save_gguf
from airust.gpt.tokenizer import Tokenizer, character_tokenizer
from airust.types import (
    EngineError,
    Message,
    SamplingParams,
    TokenEvent,
    TopLogprob,
    UnsupportedError,
    UserError,
)

QUESTION = (Message("user", "What is rain?"),)
GREEDY = SamplingParams(max_tokens=16)
SAMPLED = SamplingParams(max_tokens=16, temperature=0.8, top_p=0.95, seed=7)
OTHERS = ["transformers"]
OTHERS += ["mistralrs"] if find_spec("mistralrs") else []
OTHERS += ["llamacpp"] if find_spec("llama_cpp") else []
SAME_SAMPLER = [name for name in OTHERS if name != "mistralrs"]


@pytest.fixture(scope="module")
def torch_engine(model_dir: Path) -> Iterator[Engine]:
    with load_engine("torch", model_dir) as engine:
        yield engine


@pytest.fixture(scope="module")
def greedy(torch_engine: Engine, model_dir: Path) -> Capsule:
    return record(torch_engine, model_dir, QUESTION, GREEDY)


@pytest.fixture(scope="module")
def sampled(torch_engine: Engine, model_dir: Path) -> Capsule:
    return record(torch_engine, model_dir, QUESTION, SAMPLED)


# The file


def test_what_is_saved_comes_back(greedy: Capsule, sampled: Capsule, tmp_path: Path) -> None:
    odd = replace(
        SAMPLED, stop=("END", "水"), logit_bias=((5, -1.5),), json_schema="{}", presence_penalty=1.0
    )
    for capsule in (greedy, sampled, replace(greedy, params=odd)):
        path = tmp_path / "capsule.json"
        save_capsule(capsule, path)
        assert load_capsule(path) == capsule
        Draft202012Validator(schema()).validate(json.loads(path.read_text("utf-8")))


def test_what_a_capsule_holds(greedy: Capsule, model_dir: Path) -> None:
    tokenizer = Tokenizer.load(model_dir)
    assert list(greedy.prompt_ids) == tokenizer.encode_chat(QUESTION)
    assert greedy.model == model_dir.name
    recording = greedy.recording
    assert (recording.engine, recording.finish_reason) == ("torch", "length")
    assert recording.engine_version == torch.__version__
    assert recording.settings["dtype"] == "float32"
    assert len(recording.tokens) == 16
    for token in recording.tokens:
        assert len(token.top) == 5
        assert token.token_id == token.top[0].token_id
        assert token.logprob == token.top[0].logprob
    ids = [token.token_id for token in recording.tokens if token.token_id is not None]
    assert tokenizer.decode(ids) == recording.text


def test_the_schema_is_a_schema_and_knows_every_field() -> None:
    Draft202012Validator.check_schema(schema())
    found = schema()["properties"]
    assert set(found) == {"format", "version"} | {f.name for f in fields(Capsule)}
    assert set(found["recording"]["properties"]) == {f.name for f in fields(Recording)}
    assert set(found["params"]["properties"]) == {f.name for f in fields(SamplingParams)}
    token = found["recording"]["properties"]["tokens"]["items"]["properties"]
    assert set(token) == {f.name for f in fields(TokenEvent)}
    assert set(schema()["$defs"]["top"]["items"]["properties"]) == {
        f.name for f in fields(TopLogprob)
    }


def _without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda values: values.pop(name)


def _with(*path: Any, value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(values: dict[str, Any]) -> None:
        place: Any = values
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_with("format", value="other"), "is not a replay capsule: its field 'format'"),
        (_with("version", value=2), r"is a capsule of version 2, but this airust .* version 1\."),
        (_without("weights_sha256"), "'weights_sha256' is a required property"),
        (_with("weights_sha256", value="abc"), "The field 'weights_sha256' .*'abc' does not match"),
        (_with("colour", value=1), "'colour' was unexpected"),
        (_with("prompt_ids", value=[]), "The field 'prompt_ids'"),
        (_with("prompt_ids", 1, value="x"), r"The field 'prompt_ids\[1\]' .* 'integer'"),
        (_with("prompt_ids", 0, value=True), r"The field 'prompt_ids\[0\]'"),
        (_with("messages", 0, "role", value="wizard"), r"'messages\[0\]\.role'"),
        (_with("params", "temperature", value=-1), "'params' .* temperature is -1 but must be"),
        (_with("params", "warp", value=-1), "'params'.*'warp' was unexpected"),
        (_with("recording", "tokens", 3, "token_id", value=None), r"tokens\[3\]\.token_id'"),
        (_with("recording", "tokens", 3, "top", 0, "logprob", value="x"), r"top\[0\]\.logprob'"),
        (_with("recording", "finish_reason", value="bored"), r"'recording\.finish_reason'"),
    ],
)
def test_a_broken_capsule_is_one_sentence_that_names_the_field(
    greedy: Capsule, tmp_path: Path, change: Callable[[dict[str, Any]], Any], sentence: str
) -> None:
    path = tmp_path / "capsule.json"
    save_capsule(greedy, path)
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")
    with pytest.raises(UserError, match=sentence) as caught:
        load_capsule(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": NaN}', "\ufeff{}"])
def test_a_foreign_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match="is not"):
        load_capsule(path)
    with pytest.raises(UserError, match="Cannot read"):
        load_capsule(tmp_path / "nowhere.json")


# The model


def test_other_weights_are_refused_with_both_fingerprints(
    greedy: Capsule, model_dir: Path, tmp_path: Path
) -> None:
    check_model(greedy, model_dir)
    tokenizer, other = Tokenizer.load(model_dir), load_model(model_dir)
    with torch.no_grad():
        other.norm.weight += 1
    save_model(other, tokenizer, tmp_path)
    with pytest.raises(UserError, match="--any-weights") as caught:
        check_model(greedy, tmp_path)
    assert greedy.weights_sha256 in str(caught.value)
    check_model(greedy, tmp_path, any_weights=True)
    shutil.copytree(model_dir, tmp_path / "renamed")
    check_model(greedy, tmp_path / "renamed")  # names do not count


def test_another_tokenizer_is_always_refused(
    greedy: Capsule, model_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(model_dir, tmp_path, dirs_exist_ok=True)
    for name, text in character_tokenizer(["abc"]).files().items():
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(UserError, match="vocabulary"):
        check_model(greedy, tmp_path, any_weights=True)


# Greedy


def test_the_same_engine_matches_exactly(torch_engine: Engine, greedy: Capsule) -> None:
    report = replay(greedy, torch_engine)
    assert (report.match, report.mode, report.difference) == (True, "replayed", None)
    assert report.tokens == report.compared == 16
    assert report.max_delta is not None
    assert report.max_delta < 1e-5
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("name", OTHERS)
def test_a_greedy_capsule_replays_in_every_engine(
    name: str, greedy: Capsule, torch_engine: Engine, model_dir: Path, tmp_path: Path
) -> None:
    with load_engine(name, model_dir) as engine:
        report = replay(greedy, engine)
        assert (report.match, report.mode, report.compared) == (True, "replayed", 16)
        assert report.max_delta is not None
        assert report.max_delta < 1e-4
        back = replay(record(engine, model_dir, QUESTION, GREEDY), torch_engine)
    assert (back.match, back.mode) == (True, "replayed")


def test_a_gguf_file_of_the_same_model(greedy: Capsule, model_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", exc_type=ImportError)
    path = tmp_path / "model.gguf"
    save_gguf(model_dir, path)
    with pytest.raises(UserError, match="--any-weights"):
        check_model(greedy, path)
    check_model(greedy, path, any_weights=True)
    with load_engine("llamacpp", path) as engine:
        assert replay(greedy, engine).match
        assert record(engine, path, QUESTION, GREEDY).prompt_ids == greedy.prompt_ids


def test_the_end_of_an_answer_counts(reciter_dir: Path) -> None:
    """The reciter ends its answer behind a z."""
    with load_engine("torch", reciter_dir) as engine:
        z = Tokenizer.load(reciter_dir).encode("z")[0]
        params = SamplingParams(max_tokens=3, logit_bias=((z, 100.0),))
        capsule = record(engine, reciter_dir, QUESTION, replace(params, max_tokens=1))
        assert capsule.recording.end_top == ()  # cut, it did not end
        capsule = _from_z(capsule, z)
        recording = record_again(engine, capsule)
        assert (recording.text, recording.finish_reason, recording.tokens) == ("", "stop", ())
        assert recording.end_top[0].text == "<|im_end|>"
        ended = replace(capsule, recording=recording)
        assert replay(ended, engine).match
        goes_on = replace(ended, params=replace(ended.params, ignore_eos=True))
        report = replay(goes_on, engine)
    assert not report.match
    assert report.difference is not None
    assert (report.difference.position, report.difference.expected) == (0, None)
    assert report.difference.got == recording.end_top[0].token_id
    assert [t.token_id for t in report.difference.recorded_top] == [
        t.token_id for t in report.difference.replayed_top
    ]


def _from_z(capsule: Capsule, z: int) -> Capsule:
    return replace(
        capsule, prompt_ids=(z,), params=replace(capsule.params, logit_bias=(), max_tokens=3)
    )


def record_again(engine: Engine, capsule: Capsule) -> Recording:
    from airust.engines.replay import _record

    return _record(engine, engine.name, capsule.prompt_ids, capsule.params)


def _altered(capsule: Capsule, position: int, gap: float) -> Capsule:
    """As if the engine had preferred its second choice there, by so little."""
    tokens = list(capsule.recording.tokens)
    first, second, *rest = tokens[position].top
    logprob = first.logprob + gap
    top = (replace(second, logprob=logprob), first, *rest)
    tokens[position] = TokenEvent("?", second.token_id, logprob, top)
    return replace(capsule, recording=replace(capsule.recording, tokens=tuple(tokens)))


def test_the_first_difference_with_both_sides_alternatives(
    torch_engine: Engine, greedy: Capsule
) -> None:
    report = replay(_altered(greedy, 5, gap=1.0), torch_engine)
    assert (report.match, report.compared) == (False, 5)
    assert report.max_delta is not None
    assert report.max_delta < 1e-5
    difference = report.difference
    assert difference is not None
    first, second = greedy.recording.tokens[5].top[:2]
    assert (difference.position, difference.expected) == (5, second.token_id)
    assert difference.got == first.token_id
    assert difference.gap == pytest.approx(1.0)
    assert [t.token_id for t in difference.replayed_top] == [
        t.token_id for t in greedy.recording.tokens[5].top
    ]
    assert difference.recorded_top[0].token_id == second.token_id


def test_a_tie_is_told_from_a_real_difference(
    torch_engine: Engine, greedy: Capsule, model_dir: Path
) -> None:
    # The numbers there say that the engines are some nats apart, so the order says nothing.
    tied = replay(_altered(greedy, 5, gap=0.0), torch_engine).difference
    assert tied is not None
    assert tied.tied
    # With numbers that agree, a choice against them is no tie.
    tokens = list(greedy.recording.tokens)
    second = tokens[5].top[1]
    tokens[5] = replace(tokens[5], token_id=second.token_id, logprob=second.logprob)
    against = replace(greedy, recording=replace(greedy.recording, tokens=tuple(tokens)))
    real = replay(against, torch_engine).difference
    assert real is not None
    assert real.gap is not None
    assert not real.tied


# Sampled


def test_a_sampled_answer_comes_again_from_its_seed(torch_engine: Engine, sampled: Capsule) -> None:
    assert sampled.recording.tokens != ()
    report = replay(sampled, torch_engine)
    assert (report.match, report.mode) == (True, "replayed")
    other = replay(replace(sampled, params=replace(sampled.params, seed=8)), torch_engine)
    assert not other.match
    assert other.difference is not None
    assert not other.difference.tied


@pytest.mark.parametrize("name", SAME_SAMPLER)
def test_engines_that_share_a_sampler_draw_the_same(
    name: str, sampled: Capsule, model_dir: Path
) -> None:
    with load_engine(name, model_dir) as engine:
        report = replay(sampled, engine)
    assert (report.match, report.mode) == (True, "replayed")


@pytest.mark.skipif(not find_spec("mistralrs"), reason="mistralrs is not installed")
def test_another_sampler_is_compared_teacher_forced(sampled: Capsule, model_dir: Path) -> None:
    with load_engine("mistralrs", model_dir) as engine:
        report = replay(sampled, engine)
        assert report.mode == "teacher-forced"
        assert "'mistralrs' draws its random numbers in another way than 'torch'" in report.because
        assert report.max_delta is not None
        assert report.max_delta < 1e-4
        assert report.compared > 0
        own = record(engine, model_dir, QUESTION, replace(SAMPLED, temperature=1.0, seed=None))
        again = replay(own, engine)
        assert (again.mode, again.because) == (
            "teacher-forced",
            "The capsule's answer was sampled without a seed.",
        )


def test_teacher_forced_differences(torch_engine: Engine, sampled: Capsule) -> None:
    foreign = replace(sampled, recording=replace(sampled.recording, sampler="other"))
    report = replay(foreign, torch_engine)
    assert (report.mode, report.match, report.compared) == ("teacher-forced", True, 16)
    tokens = list(foreign.recording.tokens)
    assert tokens[4].logprob is not None
    tokens[4] = replace(tokens[4], logprob=tokens[4].logprob - 0.5)
    wrong = replace(foreign, recording=replace(foreign.recording, tokens=tuple(tokens)))
    report = replay(wrong, torch_engine)
    assert not report.match
    assert report.max_delta == pytest.approx(0.5, abs=1e-3)
    assert report.difference is not None
    assert report.difference.position == 4
    assert len(report.difference.replayed_top) == 5


def test_a_seed_is_chosen_where_it_is_needed(torch_engine: Engine, model_dir: Path) -> None:
    capsules = [
        record(torch_engine, model_dir, QUESTION, replace(SAMPLED, seed=None)) for _ in range(2)
    ]
    seeds = [capsule.params.seed for capsule in capsules]
    assert None not in seeds
    assert len(set(seeds)) == 2
    assert replay(capsules[0], torch_engine).match
    assert record(torch_engine, model_dir, QUESTION, GREEDY).params.seed is None


# What cannot be done


def test_parameters_that_the_engine_lacks_leave_the_logprobs(
    torch_engine: Engine, model_dir: Path
) -> None:
    pytest.importorskip("transformers")
    params = replace(GREEDY, regex="[a-z ]*")
    capsule = record(torch_engine, model_dir, QUESTION, params)
    with load_engine("transformers", model_dir) as engine:
        report = replay(capsule, engine)
    assert (report.mode, report.match) == ("teacher-forced", True)
    assert "does not support a regular expression" in report.because


def test_engines_without_token_ids_are_refused(greedy: Capsule, model_dir: Path) -> None:
    with DummyEngine() as engine:
        with pytest.raises(UnsupportedError, match="'dummy'"):
            record(engine, model_dir, QUESTION, GREEDY)
        with pytest.raises(UnsupportedError, match="'dummy'"):
            replay(greedy, engine)


def test_an_engine_that_reports_runs_of_tokens(
    torch_engine: Engine, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = torch_engine.generate
    monkeypatch.setattr(
        torch_engine,
        "generate",
        lambda request: replace(answer(request), tokens=answer(request).tokens[1:]),
    )
    with pytest.raises(EngineError, match="every token"):
        record(torch_engine, model_dir, QUESTION, GREEDY)
