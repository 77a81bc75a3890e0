"""Prometheus metrics: vLLM's names with the prefix ``airust_``, and its buckets.

One registry an app, so that two apps in one process do not add up. What an engine knows itself
(running, waiting, its caches) is asked when Prometheus asks; what happens once a request is
counted by prometheus-client; the gap between two tokens, which happens thousands of times a
second in the engines' threads, is counted by a list of our own.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from airust.engines.base import EngineStats
from airust.serving.models import Models, ServedModel
from airust.types import DoneEvent

CONTENT_TYPE = CONTENT_TYPE_LATEST
TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0,
)  # fmt: skip
GAP_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5, 5.0,
)  # fmt: skip
REQUEST_BUCKETS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0,
)  # fmt: skip
HTTP_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)
LABELS = ("model_name", "engine")


class Metrics:
    """Everything that is counted for one app."""

    def __init__(self, models: Models) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._gaps: dict[str, Gaps] = {m.name: Gaps() for m in models}
        self.registry.register(_Asked(models, self._gaps))

        def histogram(name: str, about: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(
                f"airust_{name}", about, LABELS, buckets=buckets, registry=self.registry
            )

        def counter(name: str, about: str, labels: Sequence[str]) -> Counter:
            return Counter(f"airust_{name}", about, labels, registry=self.registry)

        self._prompt = counter("prompt_tokens", "Tokens of prompts answered.", LABELS)
        self._generated = counter("generation_tokens", "Tokens generated.", LABELS)
        self._answers = counter(
            "request_success", "Answers that ended without an error.", (*LABELS, "finished_reason")
        )
        self._ttft = histogram("time_to_first_token_seconds", "Until the first.", TTFT_BUCKETS)
        self._queue = histogram("request_queue_time_seconds", "Waiting.", REQUEST_BUCKETS)
        self._prefill = histogram("request_prefill_time_seconds", "Prompt.", REQUEST_BUCKETS)
        self._decode = histogram("request_decode_time_seconds", "After it.", REQUEST_BUCKETS)
        self._whole = histogram("e2e_request_latency_seconds", "Whole answer.", REQUEST_BUCKETS)
        self._errors = counter("errors", "Failed requests.", ("route", "status", "code"))
        self._http = Histogram(
            "airust_http_request_duration_seconds",
            "Requests by route and status; a stream counts until its end.",
            ("method", "route", "status"),
            buckets=HTTP_BUCKETS,
            registry=self.registry,
        )
        self.sockets = Gauge(
            "airust_websocket_connections", "Open WebSockets.", registry=self.registry
        )

    def gap_observer(self, model: ServedModel) -> Callable[[float], None]:
        """Takes the seconds between two tokens; cheap, for the engine's thread."""
        return self._gaps[model.name].observe

    def answered(self, model: ServedModel, event: DoneEvent) -> None:
        """An answer has ended, or was cancelled."""
        labels = (model.name, model.engine.name)
        usage, timings = event.usage, event.timings
        self._prompt.labels(*labels).inc(usage.prompt_tokens)
        self._generated.labels(*labels).inc(usage.completion_tokens)
        self._answers.labels(*labels, event.finish_reason).inc()
        if event.finish_reason != "cancelled":  # its times say nothing
            self._ttft.labels(*labels).observe(timings.ttft_s)
            self._queue.labels(*labels).observe(timings.queued_s)
            self._prefill.labels(*labels).observe(timings.ttft_s - timings.queued_s)
            self._decode.labels(*labels).observe(timings.total_s - timings.ttft_s)
            self._whole.labels(*labels).observe(timings.total_s)

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request has ended."""
        self._http.labels(method, route, str(status)).observe(seconds)

    def failed(self, route: str, status: int, code: str) -> None:
        """A request was answered with an error."""
        self._errors.labels(route, str(status), code).inc()

    def text(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self.registry)


class Gaps:
    """A histogram of the seconds between tokens, for many observations a second.

    Additions from one engine's thread at a time need no lock.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(GAP_BUCKETS) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(GAP_BUCKETS, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts, as Prometheus wants them."""
        found, so_far = [], 0
        for bound, count in zip((*map(str, GAP_BUCKETS), "+Inf"), self.counts, strict=True):
            so_far += count
            found.append((bound, float(so_far)))
        return found


class _Asked(Collector):
    """What is asked at every scrape."""

    def __init__(self, models: Models, gaps: dict[str, Gaps]) -> None:
        self._models, self._gaps = models, gaps
        self._started = time.time()

    def collect(self) -> Iterable[Metric]:
        """The gauges, the caches' counters, and the gaps."""
        start = GaugeMetricFamily("airust_start_time_seconds", "When the service started.")
        start.add_metric([], self._started)
        yield start
        stats = [(m, m.engine.stats()) for m in self._models]
        yield _gauge(
            "airust_num_requests_running", "Answers in progress in the engine.", stats,
            lambda m, s: s.running,
        )  # fmt: skip
        yield _gauge(
            "airust_num_requests_waiting", "Answers that the engine has not begun.", stats,
            lambda m, s: s.waiting,
        )  # fmt: skip
        yield _gauge(
            "airust_num_requests_pending", "Answers that clients wait for.", stats,
            lambda m, s: m.pending,
        )  # fmt: skip
        yield _gauge(
            "airust_kv_cache_usage_perc", "Part of the KV cache in use, 1 is all.", stats,
            lambda m, s: (s.kv_tokens_used or 0) / s.kv_tokens_total if s.kv_tokens_total else None,
        )  # fmt: skip
        yield _counter(
            "airust_prefix_cache_queries", "Prompt tokens looked up in the cache.", stats,
            lambda m, s: s.prefix_queries_tokens,
        )  # fmt: skip
        yield _counter(
            "airust_prefix_cache_hits", "Prompt tokens found in the cache.", stats,
            lambda m, s: s.prefix_hits_tokens,
        )  # fmt: skip
        gaps = HistogramMetricFamily(
            "airust_inter_token_latency_seconds", "Between two tokens.", labels=LABELS
        )
        for model, _ in stats:
            gap = self._gaps[model.name]
            gaps.add_metric((model.name, model.engine.name), gap.buckets(), gap.total_s)
        yield gaps


Stats = list[tuple[ServedModel, EngineStats]]
Figure = Callable[[ServedModel, EngineStats], float | None]


def _gauge(name: str, about: str, stats: Stats, figure: Figure) -> Metric:
    return _add(GaugeMetricFamily(name, about, labels=LABELS), stats, figure)


def _counter(name: str, about: str, stats: Stats, figure: Figure) -> Metric:
    return _add(CounterMetricFamily(name, about, labels=LABELS), stats, figure)


def _add(family: GaugeMetricFamily | CounterMetricFamily, stats: Stats, figure: Figure) -> Metric:
    for model, values in stats:
        value = figure(model, values)
        if value is not None:
            family.add_metric((model.name, model.engine.name), value)
    return family
