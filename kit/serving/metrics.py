"""Metrics for Prometheus: requests, errors by kind, latency, batches, queues, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

# Three to a decade from 0.1 ms to 60 s: each bound is about 2.2 times the one before.
SECONDS = (*(float(f"{m}e{e}") for e in range(-4, 2) for m in (1, 2.2, 4.6)), 60.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 512)


class Metrics:
    """What one worker counts; a restarted worker begins at zero, as Prometheus expects."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "kit_requests", "Requests answered.", ["model", "protocol", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "kit_request_seconds",
            "From the end of the header to the answer.",
            ["model", "protocol"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("kit_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.rows = Histogram(
            "kit_batch_rows",
            "Rows computed together.",
            ["model", "version"],
            buckets=ROWS,
            registry=self.registry,
        )
        self.depth = Gauge(
            "kit_queue_depth", "Waiting or being computed.", ["model", "version"], registry=self.registry
        )
        self.file_bytes = Gauge(
            "kit_model_bytes", "Bytes of the model's files.", ["model", "version"], registry=self.registry
        )
        self._seen: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, model: str, protocol: str, status: int, seconds: float) -> None:
        """Count one answer; what labels it is looked up once."""
        key = (model, protocol, status)
        if key not in self._seen:
            self._seen[key] = (
                self.requests.labels(model, protocol, str(status)),
                self.seconds.labels(model, protocol),
            )
        counter, histogram = self._seen[key]
        counter.inc()
        histogram.observe(seconds)

    def watch(self, model: str, version: str, size: int, depth: Callable[[], int]) -> Callable[[int], None]:
        """Watch one version of a model; return what takes the rows of each of its batches."""
        self.depth.labels(model, version).set_function(depth)
        self.file_bytes.labels(model, version).set(size)
        observe: Callable[[int], None] = self.rows.labels(model, version).observe
        return observe

    def forget(self, model: str, version: str) -> None:
        """Stop watching a version that is gone."""
        for metric in (self.rows, self.depth, self.file_bytes):
            metric.remove(model, version)

    def text(self) -> bytes:
        """Return everything in Prometheus' own format."""
        found: bytes = generate_latest(self.registry)
        return found
