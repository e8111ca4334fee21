"""Counts and times of the page, in Prometheus' format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one page. Names of people, items and users never become labels."""

    media_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "partreid_requests", "Requests that were answered.", ("operation", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "partreid_request_seconds", "Time until the answer.", ("operation",), buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._items = Gauge("partreid_gallery_items", "Items in the gallery.", registry=self._registry)
        self._jobs = Gauge("partreid_jobs", "Jobs at work.", registry=self._registry)

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def text(self, *, items: int, jobs: int) -> bytes:
        """All figures in Prometheus' text format."""
        self._items.set(items)
        self._jobs.set(jobs)
        return generate_latest(self._registry)
