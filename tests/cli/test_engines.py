"""The list of engines."""

import json

from airust.engines import registry


def test_the_table_names_every_engine(airust):
    done = airust("engines")
    assert done.exit_code == 0
    for engine in registry.list_engines():
        assert engine.name in done.stdout


def test_json_is_for_other_programs(airust):
    engines = json.loads(airust("engines", "--json").stdout)
    dummy = next(engine for engine in engines if engine["name"] == "dummy")
    assert dummy["available"] is True
    assert dummy["capabilities"]["chat"] is True


def test_a_missing_engine_tells_how_to_install_it(airust, monkeypatch):
    row = registry.EngineInfo(
        name="warp",
        description="not there",
        available=False,
        version=None,
        missing=("warp-drive",),
        install_hint="pip install warp-drive",
        formats="anything",
        capabilities=None,
    )
    monkeypatch.setattr(registry, "list_engines", lambda: [row])
    done = airust("engines")
    assert done.exit_code == 0
    assert "warp is missing; install it with: pip install warp-drive" in done.stdout
