"""``airust serve`` as a real process: signals, draining, crashes, and the official client."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from airust.engines.base import Engine
from airust.types import Message, Request, SamplingParams
from tests.serving.conftest import PROXIES, TIMEOUT_S, ServerProcess, eventually, hear_interrupts

Start = Callable[..., ServerProcess]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
SLOW = """
[server]
port = 0
drain_timeout_s = 20
[[models]]
path = "echo"
engine = "dummy"
[models.options]
delay_s = 0.05
"""


def config(folder: Path, text: str) -> str:
    path = folder / "config.toml"
    path.write_text(text)
    return str(path)


def post(url: str, body: dict[str, Any]) -> httpx2.Response:
    return httpx2.post(url, json=body, trust_env=False, timeout=TIMEOUT_S)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_answers_end(start_process: Start, tmp_path: Path, how: Any):
    server = start_process("--config", config(tmp_path, SLOW))
    words = "word " * 30
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(post, f"{server.url}/infer", {"prompt": words})
        health = f"{server.url}/health"
        eventually(lambda: httpx2.get(health, trust_env=False).json()["pending"] == 1, "idle")
        server.process.send_signal(how)
        ready = f"{server.url}/readyz"
        eventually(lambda: httpx2.get(ready, trust_env=False).status_code == 503, "still ready")
        refused = post(f"{server.url}/infer", {"prompt": "new"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        assert httpx2.get(f"{server.url}/healthz", trust_env=False).status_code == 200
        assert answer.result(TIMEOUT_S).json()["output"] == words
    assert server.wait() == 0
    assert "Traceback" not in "".join(server.log)


def test_what_does_not_end_in_time_is_told(start_process: Start, tmp_path: Path):
    text = SLOW.replace("drain_timeout_s = 20", "drain_timeout_s = 0.3")
    server = start_process("--config", config(tmp_path, text))
    body = {
        "messages": [{"role": "user", "content": "word " * 5000}],
        "stream": True,
        "max_tokens": 5000,
    }
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(post, f"{server.url}/v1/chat/completions", body)
        health = f"{server.url}/health"
        eventually(lambda: httpx2.get(health, trust_env=False).json()["pending"] == 1, "idle")
        assert server.stop() == 0
        assert '"code":"shutting_down"' in answer.result(TIMEOUT_S).text


def test_a_second_signal_leaves_at_once(start_process: Start, tmp_path: Path):
    server = start_process("--config", config(tmp_path, SLOW))
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as line:
        data = json.dumps({"prompt": "word " * 5000, "max_tokens": 5000}).encode()
        head = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        line.sendall(head + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        health = f"{server.url}/health"
        eventually(lambda: httpx2.get(health, trust_env=False).json()["pending"] == 1, "idle")
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: "draining" in "".join(server.log), "does not drain")
        assert server.stop(signal.SIGINT) == 0


def test_the_official_client_over_http(start_process: Start, model_dir: Path, torch_engine: Engine):
    server = start_process("--model", f"tiny={model_dir}", "--port", "0")
    question = "What is the capital of France?"
    expected = torch_engine.generate(
        Request((Message("user", question),), params=SamplingParams(max_tokens=20))
    )
    options: dict[str, Any] = {"model": "tiny", "max_tokens": 20}
    messages: Any = [{"role": "user", "content": question}]
    http = httpx2.Client(trust_env=False)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", http_client=http) as client:
        assert [model.id for model in client.models.list()] == ["tiny"]
        whole = client.chat.completions.create(messages=messages, **options)
        assert whole.choices[0].message.content == expected.text
        stream = client.chat.completions.create(messages=messages, stream=True, **options)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces) == expected.text
        response = client.responses.create(model="tiny", input=question, max_output_tokens=20)
        assert response.output_text == expected.text
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model="none", messages=messages)
        assert missing.value.code == "model_not_found"
        assert missing.value.request_id
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(messages=messages, tools=[], **options)
        assert refused.value.code == "unsupported_parameter"
        stopped = client.chat.completions.create(messages=messages, stream=True, **options)
        next(iter(stopped))
        stopped.close()
    assert server.stop() == 0


def test_the_minimal_form_honours_port(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = str(Path(__file__).resolve().parent.parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-m", "airust.serving"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env=os.environ | PROXIES | {"PORT": str(port), "PYTHONPATH": root},
        preexec_fn=hear_interrupts,
    )  # fmt: skip
    assert process.stderr is not None
    with process.stderr:
        assert f"http://127.0.0.1:{port} " in process.stderr.readline()
        answer = post(f"http://127.0.0.1:{port}/infer", {"prompt": "hello"})
        assert answer.json()["output"] == "hello"
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Say which model"),
        (["--engine", "dummy", "--host", "0.0.0.0"], "keys.required = true"),
        (["--model", "runs/none"], "There is no model at 'runs/none'"),
        (["--engine", "torch"], "--engine needs --model"),
        (["--config", "none.toml"], "Cannot read the settings"),
        (["--engine", "dummy", "--host", "999.1.1.1"], "server.host 999.1.1.1"),
        (["--engine", "dummy", "--port", "99999"], "server.port is 99999"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, args: list[str], message: str):
    root = str(Path(__file__).resolve().parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "airust", "serve", *args], cwd=tmp_path, text=True,
        capture_output=True, timeout=TIMEOUT_S, env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_taken_port_is_told(start_process: Start, tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(AssertionError, match="--port takes another one"):
            start_process("--engine", "dummy", "--port", port)


def kill_under_load(start: Start, rounds: int) -> None:
    """Kill a server again and again while clients write; every acknowledged write must be there."""
    acknowledged: list[tuple[str, str]] = []
    session = ""
    for number in range(rounds):
        server = start("--engine", "dummy", "--port", "0")
        messages = f"{server.url}/v1/sessions/{session}/messages"
        if not session:
            session = post(f"{server.url}/v1/sessions", {}).json()["id"]
            messages = f"{server.url}/v1/sessions/{session}/messages"
        else:
            found = httpx2.get(messages, trust_env=False, timeout=TIMEOUT_S).json()["data"]
            kept = {(m["id"], m["content"]) for m in found}
            assert set(acknowledged) <= kept, f"lost after kill {number}"
        enough = threading.Event()

        def write(writer: int, url: str = messages, done: threading.Event = enough) -> None:
            with httpx2.Client(trust_env=False, timeout=TIMEOUT_S) as client:
                for count in range(10_000):
                    text = f"{writer}-{count} of {url}"
                    body = {"role": "user", "content": text}
                    try:
                        response = client.post(url, json=body)
                    except httpx2.HTTPError:
                        return
                    acknowledged.append((response.json()["id"], text))
                    if len(acknowledged) % 7 == 0:
                        done.set()

        writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for thread in writers:
            thread.start()
        assert enough.wait(TIMEOUT_S)
        server.process.kill()
        for thread in writers:
            thread.join(TIMEOUT_S)
        server.wait()
    assert len(acknowledged) > rounds


def test_kill_9_loses_no_acknowledged_message(start_process: Start):
    kill_under_load(start_process, rounds=3)


@pytest.mark.full
def test_fifty_kills_lose_no_acknowledged_message(start_process: Start):
    kill_under_load(start_process, rounds=51)
