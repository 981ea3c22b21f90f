"""The thread that owns the model: turns, the queue, and clients that leave."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")

from serving_models import byte_model

from tinylm.serving import ServerSettings, create_app
from tinylm.serving.errors import ApiError
from tinylm.serving.worker import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(active=2, waiting=2)
    yield worker
    worker.close()


def counting(name: str, count: int, log: list[str], gate: threading.Event | None = None):
    try:
        for number in range(count):
            if gate:
                gate.wait(10)
            log.append(f"{name}{number}")
            yield number
    finally:
        log.append(f"{name} closed")


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def test_jobs_take_turns_so_that_a_short_one_passes_a_long_one(worker) -> None:
    async def run() -> None:
        log: list[str] = []
        gate = threading.Event()
        async with worker.submit(counting("a", 9, log, gate)) as long, worker.submit(counting("b", 2, log)) as short:
            gate.set()
            assert [value async for value in short] == [0, 1]
            assert [value async for value in long] == list(range(9))
        assert log[:6] == ["a0", "b0", "a1", "b1", "a2", "b closed"]

    asyncio.run(run())


def test_one_more_than_may_wait_is_refused(worker) -> None:
    async def run() -> None:
        gate = threading.Event()
        jobs = [worker.submit(counting("a", 1, [], gate)) for _ in range(2)]
        await until(lambda: worker.active == 2)
        jobs += [worker.submit(counting("b", 1, [])) for _ in range(2)]
        with pytest.raises(ApiError) as refused:
            worker.submit(counting("c", 1, []))
        assert refused.value.status == 429
        gate.set()
        for job in jobs:
            assert [value async for value in job] == [0]

    asyncio.run(run())


def test_a_job_that_is_left_ends_before_its_next_step_or_never_begins(worker) -> None:
    async def run() -> None:
        log: list[str] = []
        gate = threading.Event()
        async with worker.submit(counting("a", 10**9, log)), worker.submit(counting("b", 1, log, gate)):
            await until(lambda: worker.active == 2)
            async with worker.submit(counting("c", 1, log)):
                assert worker.waiting == 1
            assert worker.waiting == 0
        gate.set()
        await until(lambda: "a closed" in log and "b closed" in log and worker.active == 0)
        assert not any(line.startswith("c") for line in log)

    asyncio.run(run())


def test_an_error_is_that_of_its_job_alone(worker) -> None:
    def failing():
        yield 1
        raise MemoryError("too much")

    async def run() -> None:
        async with worker.submit(failing()) as job, worker.submit(counting("a", 2, [])) as other:
            assert await anext(job) == 1
            for _ in range(2):
                with pytest.raises(MemoryError):
                    await anext(job)
            assert [value async for value in other] == [0, 1]

    asyncio.run(run())


def test_a_closed_worker_tells_those_who_wait(worker) -> None:
    async def run() -> None:
        gate = threading.Event()
        async with worker.submit(counting("a", 1, [], gate)), worker.submit(counting("b", 10**9, [], gate)) as job:
            await until(lambda: worker.active == 2)
            closing = asyncio.ensure_future(asyncio.to_thread(worker.close))
            await asyncio.sleep(0.05)
            gate.set()
            await closing
            with pytest.raises(ApiError, match="stopping"):
                assert [value async for value in job]
            with pytest.raises(ApiError, match="stopping"):
                worker.submit(counting("b", 1, []))

    asyncio.run(run())


class Client:
    """One that asks the app as a server would, and may leave at any time."""

    def __init__(self, app, path: str, body: bytes):
        self._messages: asyncio.Queue = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self.received: list[dict] = []
        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
        self.task = asyncio.ensure_future(app(scope, self._messages.get, self._send))

    async def _send(self, message: dict) -> None:
        self.received.append(message)

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})


@pytest.mark.parametrize("stream", [b"true", b"false"])
def test_a_client_that_leaves_frees_the_model_queued_reading_or_writing(tmp_path, monkeypatch, stream) -> None:
    lm = byte_model(tmp_path / "model", context=4096)
    app = create_app(lm, ServerSettings("tiny", max_active=1, max_waiting=1))
    reads, gate = [], threading.Semaphore(0)
    real = type(lm.decoder).last_logits

    def counted(model, ids, *others, **settings):
        reads.append(ids.shape[1])
        gate.acquire(timeout=10)
        return real(model, ids, *others, **settings)

    monkeypatch.setattr(type(lm.decoder), "last_logits", counted)

    async def run() -> None:
        body = b'{"prompt": "%s", "max_tokens": 4000, "stream": %s}' % (b"x" * 1000, stream)
        reading = Client(app, "/v1/completions", body)
        await until(lambda: reads)
        queued = Client(app, "/v1/completions", body)
        await asyncio.sleep(0.05)
        queued.leave()
        await queued.task
        assert queued.received == []
        reading.leave()  # in the middle of its prompt
        await reading.task
        gate.release(2)
        await asyncio.sleep(0.05)
        assert reads == [128]
        writing = Client(app, "/v1/completions", b'{"prompt": "x", "max_tokens": 4000, "stream": %s}' % stream)
        gate.release(20)
        await until(lambda: len(reads) > 10)
        writing.leave()
        await writing.task
        gate.release(5000)
        await asyncio.sleep(0.1)
        assert len(reads) < 60
        again = Client(app, "/v1/completions", b'{"prompt": "x", "max_tokens": 2}')
        await again.task
        assert again.received[0]["status"] == 200

    asyncio.run(run())


async def ask(app, **fields) -> list[dict]:
    """What the app sends for a request."""
    client = Client(app, "/v1/completions", json.dumps(fields).encode())
    await client.task
    return client.received


def test_requests_at_once_are_written_in_one_batch_each_as_alone(tmp_path, monkeypatch) -> None:
    lm = byte_model(tmp_path / "model")
    app = create_app(lm, ServerSettings("tiny", max_active=4))
    rows, real = [], type(lm.decoder).last_logits

    def counted(model, ids, *others, **settings):
        rows.append(len(ids))
        return real(model, ids, *others, **settings)

    monkeypatch.setattr(type(lm.decoder), "last_logits", counted)
    asked = [{"prompt": "x" * (9 * at + 1), "seed": at, "max_tokens": 40, "logprobs": 1} for at in range(6)]

    async def run() -> None:
        together = await asyncio.gather(*(ask(app, **fields) for fields in asked))
        assert max(rows) == 4
        for fields, received in zip(asked, together, strict=True):
            alone = await ask(app, **fields)
            assert json.loads(received[1]["body"])["choices"] == json.loads(alone[1]["body"])["choices"]

    asyncio.run(run())


def test_an_error_within_the_batch_ends_what_is_in_it_and_nothing_else(tmp_path, monkeypatch) -> None:
    lm = byte_model(tmp_path / "model")
    app = create_app(lm, ServerSettings("tiny"))
    real = type(lm.decoder).last_logits

    def failing(model, ids, *others, **settings):
        if len(ids) == 3:
            raise MemoryError("too much")
        return real(model, ids, *others, **settings)

    monkeypatch.setattr(type(lm.decoder), "last_logits", failing)

    async def run() -> None:
        streams = await asyncio.gather(*(ask(app, prompt="x", max_tokens=200, stream=True) for _ in range(3)))
        for received in streams:
            assert b"server_error" in received[-2]["body"]
        assert (await ask(app, prompt="x", max_tokens=5))[0]["status"] == 200

    asyncio.run(run())
