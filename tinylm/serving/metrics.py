"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tinylm.inference import Usage

from .texts import Piece
from .worker import Job, Worker

__all__ = ["Metrics", "Watch"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class Metrics:
    """The counters of one app, in a registry of their own."""

    def __init__(self, worker: Worker):
        self._registry = CollectorRegistry()
        home: Any = {"registry": self._registry}
        self._requests = Counter("tinylm_requests", "Requests, by what became of them.", ["path", "status"], **home)
        self._seconds = Histogram(
            "tinylm_request_seconds", "From a request to the end of its answer.", ["path"], buckets=SECONDS, **home
        )
        self.prompt_tokens = Counter("tinylm_prompt_tokens", "Tokens of prompts and inputs.", **home)
        self.tokens = Counter("tinylm_completion_tokens", "Tokens that were generated.", **home)
        self.queue = Histogram("tinylm_queue_seconds", "From a request to its first step.", buckets=SECONDS, **home)
        self.first = Histogram("tinylm_first_token_seconds", "From a request to its token.", buckets=SECONDS, **home)
        self.token = Histogram("tinylm_token_seconds", "From token to token.", buckets=TOKEN_SECONDS, **home)
        gauge = Gauge("tinylm_requests_active", "Requests that are worked on.", **home)
        gauge.set_function(lambda: worker.active)
        gauge = Gauge("tinylm_requests_waiting", "Requests that wait for the model.", **home)
        gauge.set_function(lambda: worker.waiting)

    def note_request(self, path: str, status: str, seconds: float) -> None:
        """Count a request that has been answered."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)


class Watch:
    """Notes when the pieces of one job come."""

    def __init__(self, metrics: Metrics, job: Job[Any]):
        self._metrics, self._job = metrics, job
        self._last: float | None = None

    def note_prompt(self, usage: Usage) -> None:
        """The prompt has been understood."""
        self._metrics.prompt_tokens.inc(usage.prompt_tokens)
        self._metrics.queue.observe((self._job.started or self._job.submitted) - self._job.submitted)

    def note_piece(self, piece: Piece) -> None:
        """A piece has come."""
        if not piece.tokens:
            return
        now = time.monotonic()
        self._metrics.tokens.inc(piece.tokens)
        if self._last is None:
            self._metrics.first.observe(now - self._job.submitted)
        else:
            self._metrics.token.observe((now - self._last) / piece.tokens)
        self._last = now
