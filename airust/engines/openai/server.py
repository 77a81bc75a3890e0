"""Find a server and the model that is meant: from a name, an address, the environment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import openai
from httpx2 import Timeout

from airust.engines.base import Capabilities
from airust.engines.openai.errors import translate
from airust.engines.openai.kinds import KINDS, ServerKind, kind_of, narrowed
from airust.engines.remote import Patience, is_local
from airust.types import AirustError, UserError

OPENAI = "https://api.openai.com/v1"
CONNECT_S = 5.0
MOST_LISTED = 12  # names of models in an error


@dataclass(frozen=True, slots=True)
class Server:
    """One model at one address."""

    client: openai.AsyncOpenAI
    url: str
    patience: Patience
    model: str
    kind: ServerKind
    capabilities: Capabilities
    context: int | None  # tokens of prompt and answer, as vLLM tells
    beside_v1: bool = False  # /tokenize and /detokenize can be reached
    texts: dict[int, str] = field(default_factory=dict)  # of token ids that were translated

    async def post(self, path: str, **values: object) -> dict[str, Any]:
        """Ask one of vLLM's additions, which lie beside /v1."""
        url = f"{self.url.removesuffix('/v1')}/{path}"
        found = await self.client.post(url, cast_to=object, body={"model": self.model, **values})
        return found if isinstance(found, dict) else {}

    async def learn_texts(self, token_ids: Iterable[int]) -> None:
        """Have ``texts`` hold these tokens, each asked for once in the server's life."""

        async def learn(token_id: int) -> None:
            self.texts[token_id] = str((await self.post("detokenize", tokens=[token_id]))["prompt"])

        await asyncio.gather(*map(learn, set(token_ids) - self.texts.keys()))

    def translate(self, error: Exception) -> AirustError:
        """An error of the client in our words."""
        return translate(error, self.url, self.patience.timeout_s)


def client_for(
    url: str, api_key: object, patience: Patience, watchers: Sequence[Callable[[], None]] = ()
) -> openai.AsyncOpenAI:
    """The official client.

    Args:
        watchers: called whenever a request is handed to the network.

    Raises:
        UserError: api.openai.com without a key.
    """
    key = api_key or os.environ.get("OPENAI_API_KEY")
    if not key and url == OPENAI:
        raise UserError(
            "api.openai.com needs a key: set OPENAI_API_KEY or the option api_key; "
            "for another server set OPENAI_BASE_URL or the option base_url."
        )

    async def sending(_: object) -> None:
        for watcher in watchers:
            watcher()

    return openai.AsyncOpenAI(
        base_url=url,
        api_key=str(key or "none"),  # the client insists on one; servers of one's own ignore it
        timeout=Timeout(patience.timeout_s, connect=min(CONNECT_S, patience.timeout_s)),
        max_retries=patience.retries,
        http_client=openai.DefaultAsyncHttpx2Client(
            trust_env=not is_local(url), event_hooks={"request": [sending]}
        ),
    )


def address(model: str, base_url: object) -> tuple[str | None, str]:
    """The model's name, None if only the server was given, and the server's address.

    >>> address("http://127.0.0.1:8000", None)
    (None, 'http://127.0.0.1:8000/v1')
    >>> address("tiny", "http://127.0.0.1:8000/v1/")
    ('tiny', 'http://127.0.0.1:8000/v1')

    Raises:
        UserError: the address is none, or there are two.
    """
    name: str | None = model
    if model.startswith(("http://", "https://")):
        if base_url is not None:
            raise UserError(f"'{model}' is an address and base_url another one; give one of them.")
        name, base_url = None, model
    url = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"base_url is {url!r} but must be like 'http://127.0.0.1:8000/v1'.")
    if parts.username or parts.password:  # addresses are shown in errors and reports
        raise UserError("The server's address contains a password; give the key as api_key.")
    return name, str(url).rstrip("/") + ("/v1" if parts.path in ("", "/") else "")


async def find(
    client: openai.AsyncOpenAI, url: str, patience: Patience, name: str | None, kind: str
) -> Server:
    """Ask who the server is and what it serves.

    Raises:
        UserError: it does not answer, or has no such model.
    """
    try:
        models = [model async for model in client.models.list()]
    except (openai.NotFoundError, openai.PermissionDeniedError) as error:
        if name is None:  # a server without a list, or a key that may not see it
            raise UserError(
                f"The server at {url} lists no models; give a model's name, and this as base_url."
            ) from error
        models = []
    except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
        raise UserError(str(translate(error, url, patience.timeout_s))) from error
    names = [model.id for model in models]
    chosen = _choose(name, names, url)
    found = KINDS["openai"] if url == OPENAI else kind_of([m.owned_by for m in models], names)
    found = KINDS.get(kind, found)
    card = next((m.to_dict() for m in models if m.id == chosen), {})
    told, context = card.get("capabilities"), card.get("max_model_len")
    server = Server(
        client,
        url,
        patience,
        chosen,
        found,
        narrowed(found.capabilities, told if isinstance(told, dict) else {}),
        context if isinstance(context, int) else None,
    )
    return replace(server, beside_v1=await _is_whole(server))


async def _is_whole(server: Server) -> bool:
    """Whether the server's additions can be reached; a gateway may let only /v1 through."""
    if not server.kind.token_ids:
        return False
    try:
        await server.learn_texts([0])
    except (openai.OpenAIError, ValueError, KeyError):
        return False
    return True


def _choose(name: str | None, names: Sequence[str], url: str) -> str:
    """The model that is meant.

    Raises:
        UserError: the server has not that one, or not exactly one.
    """
    some = ", ".join(names[:MOST_LISTED]) + (", ..." if len(names) > MOST_LISTED else "")
    if name is not None:
        if names and name not in names:
            raise UserError(f"The server at {url} has no model '{name}'; it has: {some}.")
        return name
    real = [n for n in names if n != "default"]  # what mistralrs calls its first model
    if len(real) == 1:
        return real[0]
    if not real:
        raise UserError(f"The server at {url} has no model loaded.")
    raise UserError(f"Which model? Give one's name, and {url} as base_url: {some}.")
