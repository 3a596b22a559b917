"""What a server counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bertjax.serving.batcher import Batch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Of one server; each has a registry of its own, so that a process may hold several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bertjax_requests",
            "Requests that were answered.",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self.errors = Counter(
            "bertjax_errors",
            "Requests that were answered with an error, by its code.",
            ("code",),
            registry=self.registry,
        )
        self.latency = Histogram(
            "bertjax_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "bertjax_requests_in_progress", "Requests not answered yet.", registry=self.registry
        )
        self.batch_texts = Histogram(
            "bertjax_batch_texts",
            "Texts, or windows of long ones, of a batch.",
            buckets=_TEXTS,
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "bertjax_batch_seconds",
            "Seconds of computing a batch.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter("bertjax_tokens", "Tokens computed.", registry=self.registry)
        self.queue = Gauge("bertjax_queue_texts", "Texts that wait.", registry=self.registry)
        self.ready = Gauge(
            "bertjax_ready", "1 once all programs are compiled.", registry=self.registry
        )

    def tell(self, batch: Batch) -> None:
        """A batch was computed."""
        self.batch_texts.observe(batch.pieces)
        self.batch_seconds.observe(batch.seconds)
        self.tokens.inc(batch.tokens)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
