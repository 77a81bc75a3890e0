"""``ChatPanel``: the chat front end in a notebook, without a server.

    panel = airust.ChatPanel("runs/tiny")
    panel

The service of ``airust serve`` runs in this process, on an event loop of its own, and the front
end of ``airust/ui`` talks to it through the widget's comm (``tunnel``). So the panel does what
the page does; and a cell has its round trip:

    panel.ask("What is the capital of France?")
    panel.messages
    panel.tokens
    panel.race("Why is the sky blue?")
"""

from __future__ import annotations

import contextlib
import html
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets

from airust.engines.base import Engine
from airust.engines.registry import load_engine, parse_spec
from airust.serving import create_app
from airust.settings import SessionSettings, Settings
from airust.types import (
    AirustError,
    ErrorEvent,
    Event,
    Message,
    Request,
    SamplingParams,
    TokenEvent,
    UserError,
)
from airust.ui import FOLDER
from airust.widgets import bundle
from airust.widgets.client import Client
from airust.widgets.frames import race_frame, shown_race_frame, tokens_frame
from airust.widgets.loop import BackgroundLoop
from airust.widgets.recorder import Recorded, Recorder
from airust.widgets.still import StillWidget
from airust.widgets.tunnel import Item, Tunnel

if TYPE_CHECKING:
    import pandas as pd

Model = str | Path | Engine
QUIET_S = 1.0  # the still follows when the conversation has been quiet for so long
STYLES = ("style.css", "vendor/katex/katex.min.css")


class ChatPanel(StillWidget):
    """The chat with one or more models, as a widget.

    Args:
        models: an engine, a model folder, GGUF file or hub name, a list of these, or a dict that
            names them. Engines that are given stay open when the panel closes.
        engines: the engines in which to load what is not an engine, as for ``airust serve``;
            with several, each model is loaded in each, and they can race.
        sessions: where conversations are kept: a file, or an SQLAlchemy URL. Without it they
            last as long as the panel.
        settings: of the service; ``sessions`` goes before its database.
        session: the conversation to show first; a new one if absent.
        height: any CSS length.
        language: "en" or "zh"; the browser's if absent.
        theme: "light", "dark" or "system"; the notebook's if absent.

    Raises:
        UserError: a model cannot be loaded, or two have the same name.
    """

    _esm = bundle.esm(bundle.STATIC / "chat.js")
    _css = (bundle.STATIC / "chat.css").read_text("utf-8")

    session = traitlets.Unicode("").tag(sync=True)  # id of the conversation that is shown
    height = traitlets.Unicode("640px").tag(sync=True)
    language = traitlets.Unicode("").tag(sync=True)
    theme = traitlets.Unicode("").tag(sync=True)
    models: traitlets.List[Any] = traitlets.List().tag(sync=True)  # their names
    _version = traitlets.Unicode().tag(sync=True)  # of the front end, which comes on demand
    _race: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)  # the panel's last one
    _transcript: traitlets.List[Any] = traitlets.List().tag(sync=True)  # [role, text]

    def __init__(
        self,
        models: Model | Sequence[Model] | Mapping[str, Model],
        *,
        engines: Iterable[str] = ("torch",),
        sessions: str | Path | None = None,
        settings: Settings | None = None,
        session: str = "",
        height: str = "640px",
        language: str = "",
        theme: str = "",
    ) -> None:
        self._cleanup = contextlib.ExitStack()
        try:
            self._recorders = _open(models, list(engines), self._cleanup)
            self._start(sessions, settings)
        except BaseException:
            self._cleanup.close()
            raise
        self._modules = bundle.modules(bundle.STATIC / "panel.js")
        super().__init__(
            _version=bundle.version(self._modules),
            models=list(self._recorders),
            session=session,
            height=height,
            language=language,
            theme=theme,
        )
        self.on_msg(self._hear)
        self.observe(lambda _: self._touch(), "session")
        self._loop.call(self._touch)

    def _start(self, sessions: str | Path | None, settings: Settings | None) -> None:
        settings = settings or Settings()
        if sessions is None:
            folder = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="airust-"))
            sessions = Path(folder) / "sessions.db"
        url = str(sessions) if "://" in str(sessions) else f"sqlite:///{sessions}"
        settings = settings.model_copy(update={"sessions": SessionSettings(database_url=url)})
        app = create_app(self._recorders, settings)
        self._loop = BackgroundLoop("airust-chat")
        self._cleanup.callback(self._loop.close)
        lifespan = app.router.lifespan_context(app)
        self._loop.run(lifespan.__aenter__())
        self._cleanup.callback(lambda: self._loop.run(lifespan.__aexit__(None, None, None)))
        self._tunnel = Tunnel(app, self._send_batch)
        self._client = Client(app)
        self._retelling: Any = None
        self._cleanup.callback(lambda: self._loop.run(self._client.close()))
        self._cleanup.callback(lambda: self._loop.run(self._tunnel.close()))

    def close(self) -> None:
        """Stop answers, close what the panel has opened, and remove it. Safe to repeat."""
        self._cleanup.close()
        super().close()

    def ask(self, text: str, **options: Any) -> str:
        """Ask in the conversation that is shown, and wait for the answer.

        Interrupting the kernel stops the answer; what there is of it stays in the panel.

        Args:
            options: fields of ``POST /v1/responses``: model, temperature, max_output_tokens, ...

        Raises:
            UserError: the service refused.
        """
        return self._loop.run(self._ask(text, options))

    @property
    def messages(self) -> list[Message]:
        """The branch that is shown of the conversation that is shown."""
        return [Message(role, content) for role, content in self._loop.run(self._path())]

    @property
    def tokens(self) -> pd.DataFrame:
        """The tokens of the latest answer: text, logprob, alternatives, time."""
        entries = [entry for each in self._recorders.values() for entry in each.recorded]
        return tokens_frame(max(entries, key=lambda entry: entry.started_at, default=None))

    def race(
        self, prompt: str, *, models: Iterable[str] | None = None, **params: Any
    ) -> pd.DataFrame:
        """Ask several models the same at the same time: a row each, compared with the first.

        Args:
            models: names of those that run; all of them if absent.
            params: of ``SamplingParams``.

        Raises:
            UserError: there is no such model, or it refuses the request.
            AirustError: an engine failed.
        """
        names = list(models) if models is not None else list(self._recorders)
        unknown = [name for name in names if name not in self._recorders]
        if unknown or not names:
            raise UserError(f"There is no model {unknown}; the models are: {self.models}.")
        request = Request(messages=(Message("user", prompt),), params=SamplingParams(**params))
        return race_frame(_run_together({n: self._recorders[n] for n in names}, request))

    @property
    def last_race(self) -> pd.DataFrame:
        """The race that was run last in the panel itself: a row a model.

        Its ``attrs`` have the prompt, ``in_turn`` and the index of the first different token.
        """
        return shown_race_frame(self._race)

    def still(self) -> tuple[str, str]:
        """The conversation as plain HTML."""
        told = [(role, text) for role, text in self._transcript]
        # In <pre>, or JupyterLab's MathJax would make formulas of it: nothing in it is obeyed.
        rows = "".join(
            f"<p><strong>{role}</strong></p>"
            f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>'
            for role, text in told
        )
        names = ", ".join(self.models)
        text = "\n\n".join([f"Chat with {names}", *(f"{role}: {text}" for role, text in told)])
        return f"<h4>Chat with {html.escape(names)}</h4>{rows}", text

    async def _ask(self, text: str, options: dict[str, Any]) -> str:
        if not self.session:
            made = await self._client.request("POST", "/v1/sessions", {})
            self.session = made["id"]
        parts: list[str] = []
        asked = {"input": text, "conversation": self.session, "background": True, **options}
        try:
            async with contextlib.aclosing(self._client.ask(asked)) as events:
                async for event in events:
                    if event["type"] == "response.output_text.delta":
                        parts.append(event["delta"])
                    elif event["type"] == "response.failed":
                        raise UserError(event["response"]["error"]["message"])
        finally:
            self.send({"kind": "changed", "session": self.session})
            self._touch()
        return "".join(parts)

    async def _path(self) -> list[tuple[Any, str]]:
        """Role and text of the branch that is shown."""
        if not self.session:
            return []
        try:
            tree = await self._client.request("GET", f"/v1/sessions/{self.session}/messages")
        except UserError:  # it has been deleted
            return []
        by_id = {message["id"]: message for message in tree["data"]}
        path, at = [], tree["head"]
        while at is not None:
            path.append((by_id[at]["role"], by_id[at]["content"]))
            at = by_id[at]["parent_id"]
        return path[::-1]

    def _hear(self, _: object, content: Item, __: object) -> None:
        """A message of the front end; in the kernel's main thread or a subshell's."""
        if content.get("kind") == "assets":
            styles = [(FOLDER / name).read_text("utf-8") for name in STYLES]
            self.send({"kind": "assets", "modules": self._modules, "styles": styles})
        else:
            self._loop.call(self._tunnel.receive, content)

    def _send_batch(self, batch: Item, buffers: list[bytes]) -> None:
        self.send(batch, buffers)
        self._touch()

    def _touch(self) -> None:
        """Something has changed; tell it when it is quiet. From any thread."""
        self._loop.call(self._postpone)

    def _postpone(self) -> None:
        if self._retelling is not None:
            self._retelling.cancel()
        loop = self._loop.loop
        self._retelling = loop.call_later(QUIET_S, lambda: loop.create_task(self._retell()))

    async def _retell(self) -> None:
        told = [list(pair) for pair in await self._path()]
        if told != self._transcript:
            self._transcript = told
            self.refresh_still()


def _open(
    models: Model | Sequence[Model] | Mapping[str, Model],
    engines: list[str],
    cleanup: contextlib.ExitStack,
) -> dict[str, Recorder]:
    """Load what is not loaded; ``cleanup`` closes what was loaded here, and cancels the rest."""
    if isinstance(models, str | Path | Engine):
        models = [models]
    named = models.items() if isinstance(models, Mapping) else [("", model) for model in models]
    found: dict[str, Recorder] = {}

    def add(name: str, engine: Engine, owned: bool) -> None:
        recorder = Recorder(engine, owned)
        cleanup.callback(recorder.close)
        if name in found:
            raise UserError(f"Two models are called '{name}'; give a dict with names of your own.")
        found[name] = recorder

    for name, model in named:
        if isinstance(model, Engine):
            add(name or model.name, model, owned=False)
            continue
        short = name or Path(model).name.removesuffix(".gguf")
        for spec in engines:
            engine, options = parse_spec(spec)
            full = short if len(engines) == 1 else f"{short}@{engine}"
            add(full, load_engine(engine, model, **options), owned=True)
    if not found:
        raise UserError("There is no model to chat with; give at least one.")
    return found


def _run_together(recorders: Mapping[str, Recorder], request: Request) -> dict[str, Recorded]:
    """The answers of all, begun at the same time. An interrupt cancels them."""
    ended = {name: threading.Event() for name in recorders}
    entries: dict[str, Recorded] = {}
    handles = []
    try:
        for name, recorder in recorders.items():

            def note(event: Event, done: threading.Event = ended[name]) -> None:
                if not isinstance(event, TokenEvent):
                    done.set()

            handle, entries[name] = recorder.record(request, note)
            handles.append(handle)
        for event in ended.values():
            event.wait()
    finally:
        for handle in handles:
            handle.cancel()
    for name, entry in entries.items():
        if isinstance(entry.last, ErrorEvent):
            raise AirustError(f"{name}: {entry.last.error}")
    return entries
