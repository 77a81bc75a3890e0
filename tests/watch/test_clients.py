"""Packages and crates, through the clients that the user has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from airust.watch.answers import Absent, Entry, NoAnswer
from airust.watch.cargo import Cargo
from airust.watch.pip import Pip
from airust.watch.topics import Topic
from tests.rust.conftest import require_toolchain
from tests.watch.conftest import Clients
from tests.watch.server import Reply, Server

PACKAGE, CRATE = Topic("package", "tinypackage"), Topic("crate", "tinycrate")
FACTS = "license: MIT\nrust-version: 1.88\n"
CLOSED = "http://127.0.0.1:9"  # nobody listens there


def test_pip_is_asked_for_the_newest_version(clients: Clients):
    clients.pip("tinypackage", "0.33.0")
    assert Pip().ask(PACKAGE, {}).entries == (Entry("0.33.0"),)
    assert clients.calls() == ["pip index versions --no-color tinypackage"]


def test_pip_knows_no_such_package(clients: Clients):
    with pytest.raises(Absent, match="pip says: No matching distribution found for tinypackage"):
        Pip().ask(PACKAGE, {})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("WARNING: Retrying (Retry(total=0\nERROR: No matching distribution", "got no connection"),
        ("python: No module named pip\n", "this Python has no pip"),
        ("ERROR: bad index https://me:secret@mirror.example/simple", r"bad index \(address\)"),
    ],
)
def test_pip_fails(clients: Clients, error: str, reason: str):
    clients.pip("tinypackage", error=error)
    with pytest.raises(NoAnswer, match=reason) as caught:
        Pip().ask(PACKAGE, {})
    assert "secret" not in str(caught.value)


def test_an_answer_without_a_version(clients: Clients):
    clients.pip("tinypackage", "no version")
    with pytest.raises(NoAnswer, match="has no version in it"):
        Pip().ask(PACKAGE, {})


@pytest.fixture
def mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The local server in the place of the package index."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    return server


def test_the_real_pip_asks_the_users_mirror(mirror: Server):
    assert Pip().ask(PACKAGE, {}).entries == (Entry("1.10.0"),)
    assert mirror.asked("/simple/tinypackage/")


def test_the_real_pip_has_no_connection(mirror: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{CLOSED}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(NoAnswer, match="pip got no connection") as caught:
        Pip().ask(PACKAGE, {})
    assert not isinstance(caught.value, Absent)


posix = pytest.mark.skipif(sys.platform == "win32", reason="the stub is a script")


@posix
def test_cargo_is_asked_for_version_licence_and_compiler(clients: Clients):
    clients.cargo("tinycrate", "0.8.1", FACTS)
    assert Cargo().ask(CRATE, {}).entries == (Entry("0.8.1", "MIT, rustc 1.88"),)
    add, info = clients.calls()
    assert add.startswith("cargo --color never add --dry-run --ignore-rust-version")
    assert info.endswith("info --quiet tinycrate@0.8.1")


@posix
def test_what_is_known_of_a_version_is_not_asked_again(clients: Clients):
    clients.cargo("tinycrate", "0.8.1")
    known = Entry("0.8.1", "MIT")
    assert Cargo().ask(CRATE, {"0.8.1": known}).entries == (known,)
    assert len(clients.calls()) == 1


@posix
def test_a_cargo_that_tells_no_more_than_the_version(clients: Clients):
    clients.cargo("tinycrate", "0.8.1")
    assert Cargo().ask(CRATE, {}).entries == (Entry("0.8.1"),)


@posix
def test_cargo_fails(clients: Clients):
    with pytest.raises(Absent, match="could not be found in registry index"):
        Cargo().ask(CRATE, {})
    clients.cargo("tinycrate", error="error: failed to query `sparse+https://me:pw@x.example/`\n")
    with pytest.raises(NoAnswer, match=r"^cargo says: failed to query \(address\)$"):
        Cargo().ask(CRATE, {})


def test_no_cargo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoAnswer, match="there is no cargo here"):
        Cargo().ask(CRATE, {})


@pytest.mark.full
def test_the_real_cargo_asks_the_users_mirror(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A mirror that stands in for the registry: `cargo info` refuses there, the version comes."""
    require_toolchain()
    (tmp_path / "config.toml").write_text(
        '[source.crates-io]\nreplace-with = "mirror"\n'
        f'[source.mirror]\nregistry = "sparse+{server.url}/"\n'
    )
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert Cargo().ask(CRATE, {}).entries == (Entry("0.10.2"),)
    with pytest.raises(Absent):
        Cargo().ask(Topic("crate", "nocrate"), {})
    server.replies["/ti/ny/tinycrate"] = Reply("", 500)
    monkeypatch.setenv("CARGO_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("CARGO_REGISTRIES_CRATES_IO_PROTOCOL", "sparse")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.toml").write_text(
        f'[source.crates-io]\nreplace-with = "m"\n[source.m]\nregistry = "sparse+{CLOSED}/"\n'
    )
    with pytest.raises(NoAnswer, match="cargo says: failed to query") as caught:
        Cargo().ask(CRATE, {})
    assert "127.0.0.1" not in str(caught.value)
