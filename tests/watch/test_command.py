"""`airust watch`, from the list to the report, against a local server and stub clients."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from airust.cli import build_app
from airust.watch.github import GitHub
from airust.watch.table import BEGIN, END
from tests.watch.conftest import Clients
from tests.watch.server import RELEASE, Reply, Server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stub of cargo is a script")

LIST = """
[addresses]
github = "{url}"
arxiv = "{url}/arxiv"
hub = "{url}"

[[crate]]
name = "tinycrate"
group = "Crates"
[[package]]
name = "tinypackage"
[[repository]]
name = "huggingface/candle"
[[paper]]
name = "Repair"
query = "abs:Rust"
[[family]]
name = "Qwen"
owner = "Qwen"
"""


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


@pytest.fixture
def watch(tmp_path: Path, server: Server, clients: Clients):
    """Run the command; everybody answers until told otherwise."""
    (tmp_path / "list.toml").write_text(LIST.format(url=server.url), "utf-8")
    (tmp_path / "doc.md").write_text(f"# Doc\n{BEGIN}\n{END}\n", "utf-8")
    clients.cargo("tinycrate", "1.0.0", "license: MIT\n")
    clients.pip("tinypackage", "2.0")

    def run(*options: str) -> Result:
        where = ["--list", str(tmp_path / "list.toml"), "--out", str(tmp_path / "out")]
        where += ["--table", str(tmp_path / "doc.md")]
        return CliRunner().invoke(build_app(), ["watch", *where, *options], prog_name="airust")

    return run


def report(folder: Path) -> str:
    return (folder / "out" / f"{today()}.md").read_text("utf-8")


def test_from_the_list_to_the_report(watch, tmp_path: Path, clients: Clients):
    done = watch()
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'out' / today()}.md\n"
    first = report(tmp_path)
    assert "Answered: 5. No answer: 0." in first
    for found in ("1.0.0", "2.0", "0.9.1", "2308.05177", "Qwen/Qwen3-0.6B"):
        assert found in first
    assert "| `tinycrate` |  | 1.0.0 | MIT |" in (tmp_path / "doc.md").read_text("utf-8")


def test_another_day(watch, tmp_path: Path, clients: Clients):
    watch()
    known = tmp_path / "out" / "known.json"
    known.write_text(known.read_text("utf-8").replace(today(), "2025-01-01"), "utf-8")
    clients.cargo("tinycrate", "1.1.0", "license: MIT\n")
    for _ in range(2):  # the second run of a day forgets nothing
        assert watch().exit_code == 0
        assert "Changed: 1. Watched for the first time: 0." in report(tmp_path)
        assert "- **tinycrate** 1.0.0 → 1.1.0 (MIT)" in report(tmp_path)


def test_the_silent_are_named_and_what_is_known_stays(
    watch, tmp_path: Path, server: Server, clients: Clients
):
    watch()
    clients.pip("tinypackage", error="WARNING: Retrying (\n")
    server.replies.clear()
    done = watch("--only", "package,crate")
    assert done.exit_code == 0
    assert "No answer about 4 of 5 topics" in done.stderr
    assert f"pip got no connection. Topics: tinypackage (known from {today()})" in report(tmp_path)


def test_nobody_answers(watch, tmp_path: Path, server: Server, clients: Clients):
    server.replies.clear()
    clients.pip("tinypackage", error="ERROR: x\n")
    clients.cargo("tinycrate", error="error: x\n")
    done = watch()
    assert done.exit_code == 1
    assert "Error: No source answered; the report says why." in done.stderr
    assert "Answered: 0. No answer: 5." in report(tmp_path)
    assert "no answer yet" in (tmp_path / "doc.md").read_text("utf-8")


def test_offline_asks_nobody(watch, tmp_path: Path, server: Server, clients: Clients):
    watch()
    server.questions.clear()
    clients.calls()
    done = watch("--offline")
    assert (done.exit_code, done.stderr) == (0, "Nobody was asked.\n")
    assert not server.questions and not clients.calls()
    assert f"not asked in this run. Topics: tinycrate (known from {today()})" in report(tmp_path)


def test_ctrl_c_loses_nothing(
    watch, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
):
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(GitHub, "ask", stop)
        done = watch()
    assert done.exit_code == 130
    assert "what was answered until then is in the report" in done.stderr
    assert "was stopped before its end" in report(tmp_path)
    assert "tinycrate (crate)" in report(tmp_path)
    server.replies["/repos/huggingface/candle/releases/latest"] = Reply(RELEASE | {"tag_name": "1"})
    assert watch().exit_code == 0
    assert "Answered: 5. No answer: 0. Changed: 0. Watched for the first time: 5." in report(
        tmp_path
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--only", "crates"], "--only has 'crates' but knows package, crate,"),
        (["--only", "crate", "--offline"], "--only does not go with it"),
        (["--list", "none.toml"], "The watch list 'none.toml' cannot be read"),
        (["--table", "none.md"], "The document 'none.md' cannot be read"),
    ],
)
def test_mistakes_are_found_before_anybody_is_asked(
    watch, server: Server, clients: Clients, options: list[str], sentence: str
):
    done = watch(*options)
    assert done.exit_code == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1
    assert not server.questions and not clients.calls()
