"""Two gateways over one PostgreSQL and one Redis; sessions in PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from airust.serving.errors import ApiError
from airust.serving.storage.database import Database
from airust.serving.storage.keys import Keys
from airust.serving.storage.sessions import Sessions
from tests.serving.conftest import ServerProcess, eventually

Start = Callable[..., ServerProcess]
pytestmark = pytest.mark.full


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of its own, from Debian's package."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    folder, port = tmp_path_factory.mktemp("postgres"), free_port()
    options: dict[str, object] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        for parent in folder.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o011)
        options = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data = folder / "data"
    subprocess.run(
        [found[-1] / "initdb", "-D", data, "-U", "airust", "--auth=trust", "--encoding=UTF8"],
        check=True, capture_output=True, cwd=folder, **options,
    )  # fmt: skip
    server = subprocess.Popen(
        [found[-1] / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1"],
        stderr=subprocess.DEVNULL, cwd=folder, **options,
    )  # fmt: skip
    url = f"postgresql+psycopg://airust@127.0.0.1:{port}/postgres"

    def up() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    eventually(up, "PostgreSQL does not start")
    time.sleep(1)  # it listens before it is ready
    yield url
    server.terminate()
    server.wait(60)


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """A Redis of its own, from Debian's package."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis is not installed")
    port = free_port()
    server = subprocess.Popen(
        [program, "--port", str(port), "--save", "", "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
    )
    yield f"redis://127.0.0.1:{port}/0"
    server.terminate()
    server.wait(60)


def test_sessions_in_postgresql(postgres: str):
    database = Database(postgres)
    store = Sessions(database)
    talk = store.create("me", "", "S")
    question = store.add("me", talk.id, None, "user", "水为什么往低处流？ The Borrow checker")
    answer = store.add("me", talk.id, question.id, "assistant", "Downhill.", {"a": 1})
    assert [m.content for m in store.path("me", talk.id, answer.id)][-1] == "Downhill."
    assert store.tree("me", talk.id)[1].details == {"a": 1}
    for words in ("低处", "borrow", "CHECKER the", "downHILL"):
        assert len(store.search("me", words)) == 1, words
    assert store.search("you", "borrow") == []
    assert store.search("me", "100%") == []
    store.delete("me", talk.id)
    with pytest.raises(ApiError):
        store.get("me", talk.id)
    database.close()


def test_two_gateways_share_sessions_keys_and_limits(
    start_process: Start, postgres: str, redis: str
):
    database = Database(postgres)
    secret, _ = Keys(database).create("both")
    database.close()
    environment = {
        "AIRUST_SESSIONS__DATABASE_URL": postgres,
        "AIRUST_KEYS__REQUIRED": "true",
        "AIRUST_LIMITS__STORAGE_URL": redis,
        "AIRUST_LIMITS__PER_KEY__REQUESTS_PER_MINUTE": "20",
    }
    first, second = (
        start_process("--engine", "dummy", "--port", "0", environment=environment) for _ in range(2)
    )
    headers = {"authorization": f"Bearer {secret}"}
    with httpx2.Client(headers=headers, trust_env=False, timeout=60) as client:
        session = client.post(f"{first.url}/v1/sessions", json={}).json()["id"]
        body = {"input": "one two", "conversation": session}
        answer = client.post(f"{first.url}/v1/responses", json=body).json()
        on = {"input": "three", "previous_response_id": answer["id"]}
        assert client.post(f"{second.url}/v1/responses", json=on).status_code == 200
        kept = client.get(f"{second.url}/v1/sessions/{session}/messages")
        assert [m["content"] for m in kept.json()["data"]] == ["one two"] * 2 + ["three"] * 2
        left = int(kept.headers["x-ratelimit-remaining-requests"])
        assert left == 20 - 4
        statuses = [
            client.get(f"{(first, second)[i % 2].url}/v1/models").status_code for i in range(30)
        ]
        assert statuses.count(200) == left
        refused = client.get(f"{second.url}/v1/models")
        assert re.fullmatch(r"\d+", refused.headers["retry-after"])
    assert first.stop() == 0
    assert second.stop() == 0
