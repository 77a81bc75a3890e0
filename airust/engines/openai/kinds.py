"""What the servers that speak OpenAI's API can do, beyond it and short of it.

Most of them ignore fields that they do not know, so that a request beyond their abilities would
be answered as if it had not been asked. Hence this table; its rows were read in the sources of
the servers (late 2026). Servers also take a missing sampling setting from the model's
``generation_config.json`` or from defaults of their own (llama-server: top_k 40), so those that
they know are always sent.

``GET /v1/models`` tells who is there, by the field ``owned_by``:

>>> kind_of(["vllm"], ["tiny"]).name, kind_of(["nobody"], ["tiny"]).name
('vllm', 'other')
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from airust.engines.base import Capabilities


@dataclass(frozen=True, slots=True)
class ServerKind:
    """One row of the table."""

    name: str
    capabilities: Capabilities
    always: tuple[str, ...] = ()  # sampling settings that are sent even if they change nothing
    chat_limit: str = "max_tokens"  # the field for max_tokens in a chat request
    prompt_schema: bool = False  # response_format for raw prompts too
    token_ids: bool = False  # vLLM's return_token_ids and the like, /tokenize and /detokenize
    regex: Callable[[str], dict[str, object]] = lambda pattern: {}


KINDS = {
    kind.name: kind
    for kind in (
        # What api.openai.com documents. Its seed is "best effort", not the contract's.
        ServerKind(
            "openai",
            Capabilities(
                raw_prompt=True,
                logprobs=True,
                json_schema=True,
                batching=True,
                top_k=False,
                penalties=True,
                logit_bias=True,
            ),
            chat_limit="max_completion_tokens",  # its newer models refuse max_tokens
        ),
        # vLLM from 0.12 on, and `airust serve`, which lists what its engine cannot do of this.
        ServerKind(
            "vllm",
            Capabilities(
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
            always=("top_p", "top_k", "min_p", "repetition_penalty", "ignore_eos"),
            prompt_schema=True,
            token_ids=True,
            regex=lambda pattern: {"structured_outputs": {"regex": pattern}},
        ),
        # Its penalties count the prompt's tokens too, in a window of 64: not the contract's.
        ServerKind(
            "llamacpp",
            Capabilities(
                raw_prompt=True,
                token_ids=True,
                logprobs=True,
                seed=True,
                json_schema=True,
                batching=True,
                min_p=True,
                logit_bias=True,
                ignore_eos=True,
            ),
            always=("top_p", "top_k", "min_p", "ignore_eos"),
        ),
        # No seed; its logprobs are those after temperature and penalties, not the model's own.
        ServerKind(
            "mistralrs",
            Capabilities(
                raw_prompt=True,
                json_schema=True,
                regex=True,
                batching=True,
                min_p=True,
                repetition_penalty=True,
                ignore_eos=True,
            ),
            always=("top_p", "top_k", "min_p", "repetition_penalty", "ignore_eos"),
            regex=lambda pattern: {"grammar": {"type": "regex", "value": pattern}},
        ),
        # Puts raw prompts into the chat template; its top_k, repetition penalty and the rest
        # are settings of the model there.
        ServerKind(
            "ollama",
            Capabilities(logprobs=True, seed=True, json_schema=True, batching=True, top_k=False),
            always=("top_p",),
        ),
        # Only what shows when it is missing; server="openai" asks for the rest.
        ServerKind("other", Capabilities(raw_prompt=True, logprobs=True, top_k=False)),
    )
}
OWNERS = {"vllm": "vllm", "airust": "vllm", "llamacpp": "llamacpp", "library": "ollama"}


def kind_of(owners: Sequence[str], models: Sequence[str]) -> ServerKind:
    """The row of a server whose models, ``owned_by`` these, have these names."""
    if "local" in owners and "default" in models:
        return KINDS["mistralrs"]
    known = [OWNERS[owner] for owner in owners if owner in OWNERS]
    return KINDS[known[0] if known else "other"]


def narrowed(capabilities: Capabilities, told: Mapping[str, object]) -> Capabilities:
    """What a kind can do, less what a server says that it cannot.

    >>> narrowed(Capabilities(seed=True, logprobs=True), {"seed": False}).seed
    False
    """
    able = {f.name: getattr(capabilities, f.name) for f in fields(Capabilities)}
    return Capabilities(**{name: can and bool(told.get(name, can)) for name, can in able.items()})
