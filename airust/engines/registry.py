"""Which engines there are, which are installed, and how to get the others.

Listing imports no engine and no library of one: it only asks the interpreter whether the
library could be found. Other packages add engines through the entry-point group
``airust.engines``, whose values are subclasses of ``airust.engines.base.Engine``.

>>> [engine.name for engine in list_engines()][:3]
['dummy', 'torch', 'transformers']
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from airust.engines.base import Capabilities, Engine
from airust.engines.worker import first_line
from airust.types import EngineUnavailableError, UserError

GROUP = "airust.engines"


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One row of the table."""

    target: str  # module:class
    libraries: dict[str, str]  # module: its name at PyPI; the first one's version is the engine's
    install: str  # what to give to pip; of what is built here, the command that builds it
    description: str
    formats: str  # what it loads
    capabilities: Capabilities  # as the class says; repeated so that listing imports nothing
    remote: bool = False  # asks a server for a model that it serves, and loads no files
    builder: str | None = None  # the program that builds it here; None: pip installs it


BUILT_INS: dict[str, BuiltIn] = {
    "dummy": BuiltIn(
        target="airust.engines.dummy:DummyEngine",
        libraries={},
        install="airust",
        description="echoes the question, for tests",
        formats="anything",
        capabilities=Capabilities(
            raw_prompt=True,
            seed=True,
            batching=True,
            min_p=True,
            repetition_penalty=True,
            ignore_eos=True,
            trim=True,
        ),
    ),
    "torch": BuiltIn(
        target="airust.engines.torch:TorchEngine",
        libraries={"torch": "torch", "tokenizers": "tokenizers"},
        install="torch tokenizers",
        description="our own model in PyTorch",
        formats="safetensors folder, hub name",
        capabilities=Capabilities(
            raw_prompt=True,
            token_ids=True,
            logprobs=True,
            seed=True,
            json_schema=True,
            regex=True,
            batching=True,
            min_p=True,
            repetition_penalty=True,
            penalties=True,
            logit_bias=True,
            ignore_eos=True,
            trim=True,
        ),
    ),
    "transformers": BuiltIn(
        target="airust.engines.transformers:TransformersEngine",
        libraries={"transformers": "transformers", "torch": "torch"},
        install="transformers torch",
        description="Hugging Face transformers, one request after another",
        formats="safetensors folder, hub name",
        capabilities=Capabilities(
            raw_prompt=True,
            token_ids=True,
            logprobs=True,
            seed=True,
            json_schema=True,
            regex=True,
            min_p=True,
            repetition_penalty=True,
            penalties=True,
            logit_bias=True,
            ignore_eos=True,
            trim=True,
        ),
    ),
    "mistralrs": BuiltIn(
        target="airust.engines.mistralrs:MistralRsEngine",
        libraries={"mistralrs": "mistralrs"},
        install="mistralrs",
        description="mistral.rs, written in Rust",
        formats="safetensors folder, GGUF file, hub name",
        capabilities=Capabilities(
            raw_prompt=True,
            token_ids=True,
            logprobs=True,
            json_schema=True,
            regex=True,
            batching=True,
            min_p=True,
            repetition_penalty=True,
            penalties=True,
            logit_bias=True,
            ignore_eos=True,
            trim=True,
        ),
    ),
    "llamacpp": BuiltIn(
        target="airust.engines.llamacpp:LlamaCppEngine",
        libraries={"llama_cpp": "llama-cpp-python"},
        install="llama-cpp-python",
        description="llama.cpp, written in C++",
        formats="GGUF file, safetensors folder",
        capabilities=Capabilities(
            raw_prompt=True,
            token_ids=True,
            logprobs=True,
            seed=True,
            json_schema=True,
            regex=True,
            batching=True,
            min_p=True,
            repetition_penalty=True,
            penalties=True,
            logit_bias=True,
            ignore_eos=True,
            trim=True,
        ),
    ),
    "candle": BuiltIn(
        target="airust.engines.candle:CandleEngine",
        libraries={"airust_candle": "airust-candle"},
        install="make candle",
        description="our own model in Rust, on candle",
        formats=(
            "safetensors folder or hub name of Llama, Mistral, Qwen2, Qwen3, Phi-3, Gemma 2, "
            "SmolLM3, Qwen3-MoE"
        ),
        capabilities=Capabilities(
            raw_prompt=True,
            token_ids=True,
            logprobs=True,
            seed=True,
            json_schema=True,
            regex=True,
            batching=True,
            min_p=True,
            repetition_penalty=True,
            penalties=True,
            logit_bias=True,
            ignore_eos=True,
            trim=True,
        ),
        builder="cargo",
    ),
    "openai": BuiltIn(
        target="airust.engines.openai:OpenAIEngine",
        libraries={"openai": "openai"},
        install="openai",
        description="a server with OpenAI's API: vLLM, mistralrs serve, llama-server, Ollama, ours",
        formats="a model's name at the server, or http://host:port/v1",
        capabilities=Capabilities(  # of vLLM; those of others are found when they are loaded
            raw_prompt=True,
            token_ids=True,
            logprobs=True,
            seed=True,
            json_schema=True,
            regex=True,
            batching=True,
            min_p=True,
            repetition_penalty=True,
            penalties=True,
            logit_bias=True,
            ignore_eos=True,
        ),
        remote=True,
    ),
    "bedrock": BuiltIn(
        target="airust.engines.bedrock:BedrockEngine",
        libraries={"boto3": "boto3"},
        install="boto3",
        description="Amazon Bedrock, through Converse",
        formats="a model's id or ARN",
        capabilities=Capabilities(json_schema=True, batching=True, top_k=False),
        remote=True,
    ),
}


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What can be said about an engine without importing it."""

    name: str
    description: str
    available: bool
    version: str | None  # of its library
    missing: tuple[str, ...]  # libraries that are not installed, by their names at PyPI
    install_hint: str  # a shell command
    formats: str  # what it loads
    capabilities: Capabilities | None  # None where only the package that brings it knows
    remote: bool = False  # asks a server for a model that it serves, and loads no files


def list_engines() -> list[EngineInfo]:
    """The built-in engines, then those of other packages."""
    return [*map(_built_in_info, BUILT_INS), *map(_plugin_info, _plugins())]


def engine_class(name: str) -> type[Engine]:
    """Import an engine.

    Raises:
        UserError: there is no engine of that name.
        EngineUnavailableError: its library is missing or broken.
    """
    if (built_in := BUILT_INS.get(name)) is not None:
        if missing := _missing(built_in):
            raise EngineUnavailableError(
                f"The engine '{name}' needs {' and '.join(missing)}; "
                f"install with: {_hint(built_in)}"
            )
        target = built_in.target
    else:
        plugins = {plugin.name: plugin.value for plugin in _plugins()}
        if name not in plugins:
            known = ", ".join([*BUILT_INS, *plugins])
            raise UserError(f"There is no engine '{name}'; the engines are: {known}.")
        target = plugins[name]
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, OSError, AttributeError) as error:
        raise EngineUnavailableError(
            f"The engine '{name}' is installed but cannot be imported: {first_line(error)}."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise EngineUnavailableError(f"'{target}' is not an airust engine.")
    return found


def parse_spec(text: str) -> tuple[str, dict[str, object]]:
    """An engine's name and the options to load it with, from NAME or NAME:OPTION=VALUE,...

    A value is read as JSON where it can be, and is text otherwise.

    >>> parse_spec("torch:dtype=bfloat16,threads=2")
    ('torch', {'dtype': 'bfloat16', 'threads': 2})

    Raises:
        UserError: the text has another form, or gives an option twice.
    """
    name, colon, rest = text.strip().partition(":")
    options: dict[str, object] = {}
    for part in rest.split(",") if colon else ():
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and option and equals):
            raise UserError(
                f"'{text}' must look like NAME:OPTION=VALUE, for example torch:dtype=bfloat16."
            )
        if option in options:
            raise UserError(f"'{text}' gives the option {option} twice.")
        try:
            options[option] = json.loads(value)
        except ValueError:
            options[option] = value
    return name, options


def write_spec(name: str, options: Mapping[str, object]) -> str:
    """The inverse of ``parse_spec``.

    >>> write_spec("torch", {"dtype": "bfloat16", "threads": 2}), write_spec("torch", {})
    ('torch:dtype="bfloat16",threads=2', 'torch')
    """
    written = ",".join(f"{key}={json.dumps(value)}" for key, value in options.items())
    return f"{name}:{written}" if written else name


def split_specs(text: str) -> list[str]:
    """Engines with commas between, of which each may have options with commas between.

    >>> split_specs("torch:dtype=bfloat16,threads=2, mistralrs")
    ['torch:dtype=bfloat16,threads=2', 'mistralrs']
    """
    specs: list[str] = []
    for part in filter(None, map(str.strip, text.split(","))):
        if specs and ":" in specs[-1] and "=" in part.partition(":")[0]:  # one more option
            specs[-1] += f",{part}"
        else:
            specs.append(part)
    return specs


def load_engine(name: str, model: str | Path, **options: object) -> Engine:
    """Load a model into an engine.

    Raises:
        UserError: there is no such engine, model or option.
        EngineUnavailableError: the engine's library is missing or broken.
    """
    found = engine_class(name)
    try:
        return found.load(model, **options)
    except (ImportError, OSError) as error:
        raise EngineUnavailableError(
            f"The library of the engine '{name}' does not load: {first_line(error)}."
        ) from error


def _built_in_info(name: str) -> EngineInfo:
    row = BUILT_INS[name]
    missing = _missing(row)
    first = next(iter(row.libraries.values()), "airust")
    return EngineInfo(
        name=name,
        description=row.description,
        available=not missing,
        version=None if missing else _version(first),
        missing=missing,
        install_hint=_hint(row),
        formats=row.formats,
        capabilities=row.capabilities,
        remote=row.remote,
    )


def _plugin_info(plugin: metadata.EntryPoint) -> EngineInfo:
    package = plugin.dist.name if plugin.dist else ""
    return EngineInfo(
        name=plugin.name,
        description=f"from the package {package}",
        available=util.find_spec(plugin.value.partition(":")[0].partition(".")[0]) is not None,
        version=plugin.dist.version if plugin.dist else None,
        missing=(),
        install_hint=f"pip install {package}",
        formats="",
        capabilities=None,
    )


def _plugins() -> list[metadata.EntryPoint]:
    return [p for p in metadata.entry_points(group=GROUP) if p.name not in BUILT_INS]


def _missing(row: BuiltIn) -> tuple[str, ...]:
    return tuple(pypi for name, pypi in row.libraries.items() if util.find_spec(name) is None)


def _hint(row: BuiltIn) -> str:
    if row.builder is None:
        return f"pip install {row.install}"
    if shutil.which(row.builder) is None:
        return f"{row.install}  # {row.builder} is missing here; it comes with Rust (rustup.rs)"
    return row.install


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # on the path without being installed
        return None
