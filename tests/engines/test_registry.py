"""Listing imports nothing; what is missing says how to get it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import metadata

import pytest

from airust.engines import registry
from airust.engines.dummy import DummyEngine
from airust.types import EngineUnavailableError, Message, Request, UserError

LISTING = """
import json, sys
from airust.engines.registry import list_engines
names = [engine.name for engine in list_engines()]
heavy = {"torch", "transformers", "mistralrs", "llama_cpp", "tokenizers", "numpy", "jinja2"}
print(json.dumps([names, sorted(heavy & set(sys.modules))]))
"""


def test_listing_imports_no_engine_and_no_library() -> None:
    found = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, check=True
    )
    names, imported = json.loads(found.stdout)
    assert names[:5] == ["dummy", "torch", "transformers", "mistralrs", "llamacpp"]
    assert imported == []
    assert found.stderr == ""


def test_an_installed_engine() -> None:
    info = next(e for e in registry.list_engines() if e.name == "torch")
    assert info.available
    assert info.missing == ()
    assert info.version == metadata.version("torch")


def test_a_missing_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(registry.BUILT_INS["llamacpp"], libraries={"no_such_module": "no-such-package"})
    monkeypatch.setitem(registry.BUILT_INS, "llamacpp", row)
    info = next(e for e in registry.list_engines() if e.name == "llamacpp")
    assert not info.available
    assert info.version is None
    assert info.missing == ("no-such-package",)
    assert info.install_hint == "pip install llama-cpp-python"
    with pytest.raises(EngineUnavailableError, match="pip install llama-cpp-python"):
        registry.load_engine("llamacpp", "anything")


def test_a_broken_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(registry.BUILT_INS["dummy"], target="airust.engines.dummy:NoSuchEngine")
    monkeypatch.setitem(registry.BUILT_INS, "dummy", row)
    with pytest.raises(EngineUnavailableError, match="cannot be imported"):
        registry.load_engine("dummy", "anything")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no engine 'gpt5'.*dummy, torch, transformers"):
        registry.load_engine("gpt5", "anything")


def _plugins(value: str) -> list[metadata.EntryPoint]:
    return [
        metadata.EntryPoint("parrot", value, registry.GROUP),
        metadata.EntryPoint("torch", "parrot:Impostor", registry.GROUP),  # built-ins come first
    ]


def test_engines_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    value = "airust.engines.dummy:DummyEngine"
    monkeypatch.setattr(metadata, "entry_points", lambda group: _plugins(value))
    names = [engine.name for engine in registry.list_engines()]
    assert names.count("torch") == 1
    assert names[-1] == "parrot"
    with registry.load_engine("parrot", "anything") as engine:
        assert isinstance(engine, DummyEngine)
        assert engine.generate(Request(messages=(Message("user", "hi"),))).text == "hi"


def test_a_plugin_that_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: _plugins("json:dumps"))
    with pytest.raises(EngineUnavailableError, match="not an airust engine"):
        registry.load_engine("parrot", "anything")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torch", ("torch", {})),
        (" torch ", ("torch", {})),
        ("torch:dtype=bfloat16", ("torch", {"dtype": "bfloat16"})),
        ("torch: threads=2 , prefix_cache=false", ("torch", {"threads": 2, "prefix_cache": False})),
        ("dummy:delay_s=0.5,script=a=b", ("dummy", {"delay_s": 0.5, "script": "a=b"})),
        ("openai:base_url=http://host:80/v1", ("openai", {"base_url": "http://host:80/v1"})),
    ],
)
def test_an_engine_with_options_in_one_word(text: str, expected: tuple[str, object]) -> None:
    assert registry.parse_spec(text) == expected


@pytest.mark.parametrize("text", ["torch:", "torch:dtype", "torch:=2", ":dtype=2", "torch:a=1,"])
def test_a_spec_of_another_form_is_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"must look like NAME:OPTION=VALUE"):
        registry.parse_spec(text)


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="gives the option threads twice"):
        registry.parse_spec("torch:threads=1,threads=2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torch,mistralrs", ["torch", "mistralrs"]),
        ("torch , ,mistralrs,", ["torch", "mistralrs"]),
        ("a:x=1,y=2,b,c:z=3", ["a:x=1,y=2", "b", "c:z=3"]),
        ("a:x=1,b:y=2", ["a:x=1", "b:y=2"]),
        ("a:url=http://h:1/,y=2", ["a:url=http://h:1/,y=2"]),
        ("", []),
    ],
)
def test_specs_with_commas_between(text: str, expected: list[str]) -> None:
    assert registry.split_specs(text) == expected
