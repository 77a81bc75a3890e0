"""Every setting of the service in one place: config.toml, the environment, the command line.

A later source wins: the defaults below, ``PORT``, the TOML file, ``AIRUST_SECTION__NAME`` in the
environment, then what the command line says. Nothing is read at import, and a ``Settings`` that
is made in code reads nothing at all:

>>> Settings(server=ServerSettings(port=8080)).server.port
8080
>>> load_settings(environment={"AIRUST_SERVER__PORT": "9000", "PORT": "8000"}).server.port
9000

``config.example.toml`` is ``example_toml()``, written to a file.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from airust.types import UserError

PREFIX = "AIRUST_"
# Variables of other parts with the same prefix.
NOT_SETTINGS = {"AIRUST_CACHE", "AIRUST_DEBUG", "AIRUST_PROGRESS"}


class Section(BaseModel):
    """A table of the TOML file. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    """The listening socket and what a single request may cost."""

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; 0.0.0.0 is every interface."
    )
    port: int = Field(
        default=3000, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=(),
        description="Addresses or networks whose X-Forwarded-For is believed.",
    )
    drain_timeout_s: float = Field(
        default=30,
        gt=0,
        description="After SIGTERM or Ctrl+C: how long running answers may take to end.",
    )
    request_timeout_s: float = Field(
        default=600, gt=0, description="An answer is cancelled after this."
    )
    body_timeout_s: float = Field(
        default=20, gt=0, description="A request must have arrived by then."
    )
    idle_timeout_s: int = Field(
        default=30, ge=1, description="An idle connection is closed after this."
    )
    keep_alive_s: float = Field(
        default=15, gt=0, description="A stream without tokens sends a comment this often."
    )
    max_body_bytes: int = Field(
        default=4 << 20, ge=1024, description="Larger bodies are refused (413)."
    )
    max_header_bytes: int = Field(
        default=32 << 10, ge=1024, description="Larger headers: refused (431)."
    )
    max_headers: int = Field(default=100, ge=8, description="More headers: refused (431).")
    max_pending: int = Field(
        default=256,
        ge=1,
        description="Answers in progress per model, waiting ones too; more get 503.",
    )


class ModelSettings(Section):
    """One model to serve, in one engine."""

    path: str = Field(description="Model folder, .gguf file or hub name.")
    name: str = Field(
        default="", description="What clients call it; empty: the last part of the path."
    )
    engine: str = Field(default="torch", description="`airust engines` lists them.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the engine, such as dtype or threads."
    )


class GenerationSettings(Section):
    """What a request gets where it does not say."""

    temperature: float = Field(
        default=0.0,
        ge=0,
        le=2,
        description="0 always takes the likeliest token, so answers repeat.",
    )
    max_tokens: int = Field(
        default=1024, ge=1, description="New tokens at most; the context may end it."
    )


class SessionSettings(Section):
    """Conversations that the server keeps."""

    database_url: str = Field(
        default="sqlite:///runs/airust.db",
        description="SQLAlchemy URL of sessions and keys; postgresql+psycopg://... for several "
        "gateways.",
    )
    last_messages: int = Field(
        default=20, ge=1, description="Messages of a session that the model is shown; the system "
        "message is always shown.",
    )  # fmt: skip
    max_context_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens of those at most; 0: what the model's context leaves room for.",
    )


class KeySettings(Section):
    """API keys; `airust keys create` makes one."""

    required: bool = Field(default=False, description="Only requests with a key are answered.")
    allow_open: bool = Field(
        default=False, description="Listen on other interfaces than loopback without keys."
    )


class Limits(Section):
    """Limits of one caller; 0 means none."""

    requests_per_minute: int = Field(default=0, ge=0, description="Requests; 0: no limit.")
    tokens_per_minute: int = Field(
        default=0, ge=0, description="Prompt and new tokens; 0: no limit."
    )
    concurrent_requests: int = Field(
        default=0, ge=0, description="Answers at the same time; 0: no limit."
    )


class LimitSettings(Section):
    """How much one caller may ask for."""

    storage_url: str = Field(
        default="memory://", description="Where it is counted; redis://... for several gateways."
    )
    per_key: Limits = Field(default=Limits(), description="Limits of one key.")
    per_ip: Limits = Field(
        default_factory=Limits, description="Limits of one address, whatever its keys."
    )


class CorsSettings(Section):
    """Which web pages of other origins may call this server from a browser."""

    origins: tuple[str, ...] = Field(default=("*",), description='Origins; "*" is any.')
    methods: tuple[str, ...] = Field(
        default=("GET",), description='Methods; ["GET", "POST"] lets other pages ask the model.'
    )


class WebSocketSettings(Section):
    """The socket at /ws."""

    origins: tuple[str, ...] = Field(
        default=(), description='Origins beside the server\'s own that may connect; "*" is any.'
    )
    max_frame_bytes: int = Field(
        default=1 << 20, ge=1024, description="Larger frames end the connection."
    )


class LogSettings(Section):
    """Log lines on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="text, or json for collectors."
    )
    prompts: bool = Field(default=False, description="Log what users ask, too. Mind their privacy.")


class MetricsSettings(Section):
    """Prometheus metrics at /metrics."""

    public: bool = Field(
        default=False, description="Answer /metrics without a key even where keys are required."
    )


class TracingSettings(Section):
    """OpenTelemetry; needs `pip install airust[tracing]`."""

    endpoint: str = Field(
        default="",
        description="OTLP/HTTP collector, such as http://localhost:4318/v1/traces; empty: off.",
    )
    service_name: str = Field(default="airust", description="What the traces are filed under.")


class Settings(Section):
    """All of them."""

    server: ServerSettings = ServerSettings()
    models: tuple[ModelSettings, ...] = Field(
        default=(), description="Models to serve, one table each."
    )
    generation: GenerationSettings = GenerationSettings()
    sessions: SessionSettings = SessionSettings()
    keys: KeySettings = KeySettings()
    limits: LimitSettings = LimitSettings()
    cors: CorsSettings = CorsSettings()
    websocket: WebSocketSettings = WebSocketSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()


def load_settings(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the sources and merge them.

    Args:
        config: a TOML file; None: only the environment is read.
        overrides: nested values that win over everything, from the command line.
        environment: instead of the process's own.
        defaults: nested values that win over nothing but the defaults above.

    Raises:
        UserError: a file cannot be read, a name is unknown, or a value is wrong; says which.
    """
    environment = os.environ if environment is None else environment
    merged: dict[str, Any] = {}
    if port := environment.get("PORT"):
        merged = {"server": {"port": port}}
    for layer in (_read_toml(config), _read_environment(environment), overrides or {}):
        merged = _merge(merged, layer)
    try:
        return Settings.model_validate(_merge(defaults or {}, merged))
    except ValidationError as error:
        raise UserError(_explain(error)) from error


def _read_toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read the settings '{path}': {error.strerror}.") from error
    except ValueError as error:  # bad TOML, or not UTF-8
        raise UserError(f"The settings '{path}' are not valid TOML: {error}.") from error


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """AIRUST_SERVER__PORT=3000 as {"server": {"port": "3000"}}; lists and tables are JSON."""
    found: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        section, *path = name.removeprefix(PREFIX).lower().split("__")
        value: Any = text
        if text[:1] in ("[", "{"):
            try:
                value = json.loads(text)
            except ValueError as error:
                raise UserError(f"{name} is not valid JSON: {error}.") from error
        for part in reversed(path):
            value = {part: value}
        found = _merge(found, {section: value})
    return found


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _explain(error: ValidationError) -> str:
    """The first problem as one sentence with the setting's full name."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    name = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = _names_in(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}."
        return f"There is no setting {name}; {hint}"
    if first["type"] == "missing":
        return f"The setting {name} is missing."
    if first["type"] == "model_type":
        return f"The setting {name} is {first['input']!r} but must be a table."
    return f"The setting {name} is {first['input']!r}: {first['msg'].lower()}."


def _names_in(path: list[str]) -> list[str]:
    section: type[BaseModel] = Settings
    for part in path:
        if part.isdigit():  # the place in a list
            continue
        section = _section_of(section.model_fields[part]) or section
    return list(section.model_fields)


def _section_of(field: FieldInfo) -> type[Section] | None:
    """The class of a table, or of the tables in a list."""
    for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def example_toml() -> str:
    """A config.toml with every setting, its default and what it means."""
    lines = [
        "# Every setting of the service with its default. Copy what you change to config.toml:",
        "#     airust serve --config config.toml",
        "# In the environment the same names read AIRUST_SERVER__PORT=3000.",
    ]
    for name, field in Settings.model_fields.items():
        section = _section_of(field)
        assert section is not None, f"{name} is no table"
        lines += _table(name, section, section.__doc__ or "", several=name == "models")
    return "\n".join(lines) + "\n"


def _table(path: str, section: type[Section], about: str, several: bool = False) -> list[str]:
    """A table as lines; one of which there may be several is an example in comments."""
    mark = "# " if several else ""
    lines = ["", f"# {about}"]
    lines.append(f"{mark}[[{path}]]" if several else f"[{path}]")
    tables: list[str] = []
    for name, field in section.model_fields.items():
        if (inner := _section_of(field)) is not None:
            tables += _table(f"{path}.{name}", inner, field.description or "")
            continue
        value = "runs/tiny" if field.is_required() else field.get_default(call_default_factory=True)
        lines += [f"# {field.description}", f"{mark}{name} = {_toml_value(value)}"]
    return lines + tables


def _toml_value(value: object) -> str:
    """TOML writes strings, numbers, booleans and flat lists as JSON does."""
    return "{}" if value == {} else json.dumps(value, ensure_ascii=False)
