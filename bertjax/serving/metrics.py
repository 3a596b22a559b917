"""What a server counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bertjax.serving.batcher import Batch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Of one server; each has a registry of its own, so that a process may hold several.

    The first label of all is the id of a model: a server may have two.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "bertjax_requests",
            "Requests that were answered.",
            ("model", "method", "path", "status"),
            registry=registry,
        )
        self._errors = Counter(
            "bertjax_errors",
            "Requests that were answered with an error, by its code.",
            ("model", "code"),
            registry=registry,
        )
        self._latency = Histogram(
            "bertjax_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ("model", "path"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_progress = Gauge(
            "bertjax_requests_in_progress",
            "Requests that are not answered yet.",
            ("model",),
            registry=registry,
        )
        self._batch_texts = Histogram(
            "bertjax_batch_texts",
            "Texts, or windows of long ones, of a batch.",
            ("model",),
            buckets=_TEXTS,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "bertjax_batch_seconds",
            "Seconds of computing a batch.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "bertjax_tokens", "Tokens that were computed.", ("model",), registry=registry
        )
        self._queue = Gauge(
            "bertjax_queue_texts", "Texts that wait.", ("model",), registry=registry
        )
        self._ready = Gauge(
            "bertjax_ready", "1 once texts are answered.", ("model",), registry=registry
        )

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)

    def of(self, model: str) -> "ModelMetrics":
        """The counts of one model."""
        return ModelMetrics(self, model)


class ModelMetrics:
    """What is counted of one model of a server."""

    def __init__(self, server: Metrics, model: str) -> None:
        self._server = server
        self._model = model
        self.page = server.page

    def watch(self, waiting: Callable[[], int], ready: Callable[[], bool]) -> None:
        """Have the texts that wait, and whether any are answered, asked for when they are read."""
        self._server._queue.labels(self._model).set_function(waiting)
        self._server._ready.labels(self._model).set_function(ready)

    def begin(self) -> None:
        """A request has come."""
        self._server._in_progress.labels(self._model).inc()

    def end(self, method: str, path: str, status: int, seconds: float) -> None:
        """It was answered."""
        self._server._in_progress.labels(self._model).dec()
        self._server._requests.labels(self._model, method, path, str(status)).inc()
        self._server._latency.labels(self._model, path).observe(seconds)

    def error(self, code: str) -> None:
        """It was answered by an error."""
        self._server._errors.labels(self._model, code).inc()

    def batch(self, batch: Batch) -> None:
        """A batch was computed."""
        self._server._batch_texts.labels(self._model).observe(batch.pieces)
        self._server._batch_seconds.labels(self._model).observe(batch.seconds)
        self._server._tokens.labels(self._model).inc(batch.tokens)
