"""Remote engines get servers of their own: stubs on this machine, over the torch engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.engines.stubs.bedrock_server import BedrockStub
from tests.engines.stubs.http import Stub
from tests.engines.stubs.openai_server import OpenAIStub

MODEL_ID = "airust.reciter-v1:0"  # as Bedrock names models
S = TypeVar("S", bound=Stub)


@contextmanager
def stub_of(kind: type[S], folder: Path, model: str) -> Iterator[S]:
    """A server that serves a model folder under a name."""
    from airust.engines.torch import TorchEngine
    from airust.gpt.checkpoint import load_model
    from airust.gpt.tokenizer import Tokenizer

    gpt, tokenizer = load_model(folder), Tokenizer.load(folder)
    with (
        TorchEngine(gpt, tokenizer) as engine,
        kind(engine, tokenizer, model, gpt.config.context) as stub,
    ):
        yield stub


def aws_settings(url: str) -> dict[str, str]:
    """An environment in which boto3 finds a stub, and nothing of the tester's own."""
    return {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_ACCESS_KEY_ID": "AKID",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def served(engine: str, folder: Path) -> Iterator[str | Path]:
    """What ``load_engine`` takes for a model folder: remote engines get it from a server."""
    with ExitStack() as stack:
        if engine == "openai":
            yield f"{stack.enter_context(stub_of(OpenAIStub, folder, str(folder))).url}/v1"
        elif engine == "bedrock":
            environment = stack.enter_context(pytest.MonkeyPatch.context())
            aws = stack.enter_context(stub_of(BedrockStub, folder, MODEL_ID))
            for name, value in aws_settings(aws.url).items():
                environment.setenv(name, value)
            yield MODEL_ID
        else:
            yield folder


@pytest.fixture
def openai_stub(reciter_dir: Path) -> Iterator[OpenAIStub]:
    """A server with OpenAI's API that recites."""
    with stub_of(OpenAIStub, reciter_dir, str(reciter_dir)) as stub:
        yield stub


@pytest.fixture
def bedrock_stub(reciter_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BedrockStub]:
    """A Bedrock that recites, and that boto3 finds."""
    with stub_of(BedrockStub, reciter_dir, MODEL_ID) as stub:
        for name, value in aws_settings(stub.url).items():
            monkeypatch.setenv(name, value)
        yield stub
