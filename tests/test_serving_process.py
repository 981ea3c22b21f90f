"""The server as a process: many clients, slow ones, silent ones, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2")

import httpx2 as httpx
from serving_models import byte_model, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    byte_model(folder, context=4096)
    return folder


@pytest.fixture
def connect():
    """A function that connects to a server and sends something; what it opened is closed at the end."""
    opened: list[socket.socket] = []

    def connect(address: str, sent: bytes = b"", *, buffer: int | None = None) -> socket.socket:
        parts = urlsplit(address)
        opened.append(client := socket.socket())
        if buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(60)
        client.connect((parts.hostname, parts.port))
        client.sendall(sent)
        return client

    yield connect
    for client in opened:
        client.close()


def request(fields: dict) -> bytes:
    body = json.dumps({"prompt": "x", "temperature": 1, "seed": 1, **fields}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def read_to_the_end(client: socket.socket) -> bytes:
    received = b""
    while part := client.recv(65536):
        received += part
    return received


def health(address: str) -> dict:
    with urllib.request.urlopen(f"{address}/health", timeout=30) as response:
        return json.load(response)


def wait_for(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can catch")
def test_sigterm_lets_answers_end_and_takes_no_new_ones(folder: Path, connect) -> None:
    command = [sys.executable, "-m", "tinylm", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while (found := re.search(r"http://[\d.:]+", line := process.stdout.readline())) is None:
            assert line, process.stderr.read()
        address = found[0]
        client = connect(
            address, request({"max_tokens": 1000, "stream": True, "stream_options": {"include_usage": True}})
        )
        first = b""
        while b'"text"' not in first:  # kernels may have to be compiled before
            first += client.recv(1024)
        process.send_signal(signal.SIGTERM)
        received = first + read_to_the_end(client)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert b'"completion_tokens": 1000' in received
    assert b"data: [DONE]" in received
    assert process.returncode == 0
    assert not err
    with pytest.raises(OSError, match="refused"):
        connect(address)


@pytest.mark.slow
def test_fifty_clients_at_once_get_what_each_would_get_alone(folder: Path) -> None:
    async def ask(client, seed: int) -> str:
        asked = {"prompt": "x" * (seed + 1), "seed": seed, "max_tokens": 30}
        if seed % 2:
            return (await client.post("/v1/completions", json=asked)).json()["choices"][0]["text"]
        async with client.stream("POST", "/v1/completions", json={**asked, "stream": True}) as response:
            lines = [line async for line in response.aiter_lines() if line.startswith("data: {")]
        return "".join(json.loads(line[6:])["choices"][0]["text"] for line in lines)

    async def ask_all(address: str) -> tuple[list[str], list[str]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits, trust_env=False) as client:
            together = await asyncio.gather(*(ask(client, seed) for seed in range(50)))
            return together, [await ask(client, seed) for seed in range(50)]

    with running(folder) as (_, address):
        together, alone = asyncio.run(ask_all(address))
    assert together == alone
    assert len(set(alone)) == 50


async def ask_at_once(address: str, number: int, asked: dict) -> list:
    async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as client:
        return await asyncio.gather(*(client.post("/v1/completions", json=asked) for _ in range(number)))


@pytest.mark.slow
def test_the_queue_is_bounded_and_says_so(folder: Path, connect) -> None:
    with running(folder, max_active=1, max_waiting=2, patience=60) as (_, address):
        answers = asyncio.run(ask_at_once(address, 8, {"prompt": "x", "max_tokens": 4000}))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert 1 <= len(refused) <= 6  # two may wait, and one more where the first was taken up by then
        for answer in refused:
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["error"]["code"] == "queue_full"
        clients = [connect(address, request({"max_tokens": 4000})) for _ in range(8)]
        wait_for(lambda: health(address)["waiting"] > 0)
        for client in clients:
            client.close()
        wait_for(lambda: health(address) == {"status": "ok", "active": 0, "waiting": 0})
        assert httpx.post(f"{address}/v1/completions", json={"prompt": "x"}, trust_env=False).status_code == 200


@pytest.mark.slow
def test_clients_that_send_nothing_or_half_a_request_are_cut_off(folder: Path, connect) -> None:
    halves = [b"", b"POST /v1/comple", request({})[:-4], b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "]
    with running(folder, patience=1.0) as (_, address):
        begin = time.monotonic()
        for client in [connect(address, half) for half in halves]:
            with contextlib.suppress(ConnectionResetError):
                assert read_to_the_end(client) == b""
        assert 0.5 < time.monotonic() - begin < 20
        assert health(address)["active"] == 0


@pytest.mark.slow
def test_a_client_that_reads_nothing_is_cut_off_and_others_are_not_held_up(folder: Path, connect) -> None:
    with running(folder, patience=1.0) as (_, address):
        asked = request({"prompt": ["x"] * 100, "max_tokens": 4000, "logprobs": 20, "stream": True})
        slow = connect(address, asked, buffer=4096)
        other = httpx.post(f"{address}/v1/completions", json={"prompt": "x"}, timeout=60, trust_env=False)
        assert other.status_code == 200
        wait_for(lambda: health(address) == {"status": "ok", "active": 0, "waiting": 0})
        received = b""
        with contextlib.suppress(ConnectionResetError):
            received = read_to_the_end(slow)
        assert b"[DONE]" not in received


@pytest.mark.slow
def test_connections_are_bounded(folder: Path, connect) -> None:
    with running(folder, max_connections=3, patience=2.0) as (_, address):
        held = [connect(address) for _ in range(3)]
        refused = read_to_the_end(connect(address))
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_many_connections"
        for client in held:
            client.close()
        wait_for(lambda: _answers(address))


def _answers(address: str) -> bool:
    try:
        return health(address)["status"] == "ok"
    except OSError:
        return False


@pytest.mark.slow
def test_two_thousand_requests_leave_the_memory_as_it_was(folder: Path) -> None:
    def resident(process) -> int:
        text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1])

    async def ask(client, number: int) -> None:
        asked = {"prompt": "x" * (number % 50), "max_tokens": 5, "stream": number % 3 == 0, "logprobs": number % 4}
        if number % 7 == 0:  # one that leaves
            try:
                await client.post("/v1/completions", json={**asked, "max_tokens": 3000}, timeout=0.05)
            except httpx.TimeoutException:
                return
        assert (await client.post("/v1/completions", json=asked)).status_code == 200

    async def ask_many(address: str, numbers: range) -> None:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits, trust_env=False) as client:
            for first in numbers[::20]:
                await asyncio.gather(*(ask(client, number) for number in range(first, first + 20)))

    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    # The caches that are kept may fill the memory that they are given: little enough to be full when it is warm.
    with running(folder, load={"kept_bytes": 1 << 20}) as (process, address):
        asyncio.run(ask_many(address, range(400)))
        warm = resident(process)
        asyncio.run(ask_many(address, range(400, 2000)))
        wait_for(lambda: health(address)["active"] == 0)
        grown = resident(process) - warm
        assert grown < 10_000, f"{grown} KiB more after 1,600 requests, of {warm}"
