"""Settings: where they come from, who wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.settings import PREFIX, Settings, example_toml, load_settings
from airust.types import UserError

ROOT = Path(__file__).resolve().parent.parent


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_example_is_generated_from_the_model():
    assert (ROOT / "config.example.toml").read_text("utf-8") == example_toml(), (
        "airust serve --print-config > config.example.toml"
    )


def test_the_example_says_the_defaults():
    assert load_settings(ROOT / "config.example.toml", environment={}) == Settings()


def test_every_setting_has_a_description():
    for line, following in zip(
        example_toml().splitlines(), example_toml().splitlines()[1:], strict=False
    ):
        if " = " in following and not following.startswith("#     "):
            assert line.startswith("# ") and len(line) > 5, following


def test_later_sources_win(tmp_path: Path):
    path = write(tmp_path, '[server]\nport = 1\nhost = "127.0.0.2"\nmax_pending = 7\n')
    environment = {"AIRUST_SERVER__PORT": "2", "AIRUST_SERVER__HOST": "127.0.0.3", "PORT": "9"}
    found = load_settings(path, {"server": {"port": 3}}, environment)
    assert (found.server.port, found.server.host, found.server.max_pending) == (3, "127.0.0.3", 7)


def test_port_of_the_platform_is_the_weakest(tmp_path: Path):
    assert load_settings(environment={"PORT": "8000"}).server.port == 8000
    path = write(tmp_path, "[server]\nport = 1\n")
    assert load_settings(path, environment={"PORT": "8000"}).server.port == 1
    weak = {"server": {"port": 8080}}
    assert load_settings(environment={}, defaults=weak).server.port == 8080
    assert load_settings(environment={"PORT": "8000"}, defaults=weak).server.port == 8000


@pytest.mark.parametrize("name", ["AIRUST_CACHE", "AIRUST_DEBUG", "AIRUST_PROGRESS"])
def test_variables_of_other_parts_are_no_settings(name: str):
    assert load_settings(environment={name: "whatever"}) == Settings()


def test_lists_and_tables_in_the_environment_are_json():
    environment = {"AIRUST_CORS__METHODS": '["GET", "POST"]', "AIRUST_MODELS": '[{"path": "x"}]'}
    found = load_settings(environment=environment)
    assert found.cors.methods == ("GET", "POST")
    assert found.models[0].path == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1", "There is no setting server.prot; did you mean port?"),
        ("[servre]\nport = 1", "There is no setting servre; did you mean server?"),
        ("[server]\nport = 'x'", "server.port is 'x'"),
        ("[server]\nport = 99999", "server.port is 99999"),
        ("server = 3", "server is 3 but must be a table"),
        ("[[models]]\nname = 'x'", "models.0.path is missing"),
        ("[[models]]\npath = 'x'\nengin = 'x'", "models.0.engin; did you mean engine?"),
        ("[limits.per_key]\nx = 1", "no setting limits.per_key.x; known here: requests_per_minute"),
        ("[server", "not valid TOML"),
        ("log = {level = 'loud'}", "log.level is 'loud'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=r".") as caught:
        load_settings(write(tmp_path, text), environment={})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SERVER__PROT", "1", "server.prot"),
        ("SERVR__PORT", "1", "servr"),
        ("CORS__METHODS", "[1", "is not valid JSON"),
        ("SERVER", "3", "must be a table"),
    ],
)
def test_mistakes_in_the_environment_are_named(name: str, value: str, message: str):
    with pytest.raises(UserError) as caught:
        load_settings(environment={PREFIX + name: value})
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="Cannot read the settings"):
        load_settings(tmp_path / "none.toml", environment={})
