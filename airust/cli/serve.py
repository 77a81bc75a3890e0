"""``airust serve``: models behind OpenAI's HTTP API."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airust.cli.common import open_engine, say
from airust.types import UserError

if TYPE_CHECKING:
    from airust.engines.base import Engine
    from airust.settings import ModelSettings, Settings

EXAMPLE = "airust serve --model runs/tiny --port 3000"


def run(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="[NAME=]PATH",
            help="Folder, .gguf file or hub name; several times for several models.",
        ),
    ] = None,
    engines: Annotated[
        list[str] | None,
        typer.Option("--engine", "-e", help="Several times: every model in each of them."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A config.toml.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="3000 if absent; 0 takes a free one.")] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print a config.toml with every setting.")
    ] = False,
) -> None:  # fmt: skip
    """Serve models over HTTP until Ctrl+C. Running answers are finished first."""
    from airust.settings import example_toml, load_settings

    if print_config:
        typer.echo(example_toml(), nl=False)
        return
    server = {k: v for k, v in {"host": host, "port": port}.items() if v is not None}
    overrides: dict[str, Any] = {"server": server}
    if models:
        overrides["models"] = _chosen(models, engines or ["torch"])
    settings = load_settings(config, overrides)
    if not settings.models and engines == ["dummy"]:
        settings = load_settings(config, {**overrides, "models": [_row("echo", "dummy", "dummy")]})
    elif engines and not models:
        raise UserError("--engine needs --model; a config.toml names the engine of each model.")
    _serve(settings)


def _chosen(models: list[str], engines: list[str]) -> list[dict[str, str]]:
    """Every model in every engine.

    >>> [row["name"] for row in _chosen(["runs/tiny", "big=runs/small"], ["torch", "llamacpp"])]
    ['tiny@torch', 'tiny@llamacpp', 'big@torch', 'big@llamacpp']
    >>> _chosen(["runs/tiny"], ["torch"])
    [{'name': 'tiny', 'path': 'runs/tiny', 'engine': 'torch'}]
    """
    rows = []
    for model in models:
        name, equals, path = model.rpartition("=")
        name = name if equals else _last_part(path)
        for engine in engines:
            rows.append(_row(name if len(engines) == 1 else f"{name}@{engine}", path, engine))
    return rows


def _row(name: str, path: str, engine: str) -> dict[str, str]:
    return {"name": name, "path": path, "engine": engine}


def _last_part(path: str) -> str:
    last = Path(path).name
    return last.removesuffix(".gguf") or path


def _serve(settings: Settings) -> None:
    from airust.gpt.memory import share_heaps
    from airust.serving.app import create_app
    from airust.serving.server import check_exposure, serve

    if not settings.models:
        raise UserError(
            "Say which model with --model, or in config.toml; "
            "`airust serve --engine dummy` serves an echo."
        )
    check_exposure(settings)  # before minutes of loading
    share_heaps()
    with contextlib.ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for model in settings.models:
            name = model.name or _last_part(model.path)
            if name in engines:
                raise UserError(f"Two models are called '{name}'; NAME=PATH gives another name.")
            engines[name] = stack.enter_context(_open(model))
        app = create_app(engines, settings)
        serve(app, settings, lambda url: _tell(url, list(engines)))


def _open(model: ModelSettings) -> Engine:
    path = None if model.engine == "dummy" else model.path
    return open_engine(model.engine, path, **model.options)


def _tell(url: str, names: list[str]) -> None:
    say(f"Serving {', '.join(names)} at {url}  (Ctrl+C stops)")
    say(f"Chat: open {url} in a browser")
    say(f'Try: curl {url}/infer -H "content-type: application/json" -d \'{{"prompt": "Hi"}}\'')
