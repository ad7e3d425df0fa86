"""What the worker tells Prometheus: counters and gauges of its own registry, written to a file that the API serves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.engine.errors import EngineError
from orchestrator.jobs import Outcome
from orchestrator.metrics.samples import ProxySample

log = logging.getLogger("skylark.worker")

_VERBS = ("pull", "launch", "stop", "remove")
_PASS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(frozen=True)
class _Total:
    requests: int = 0
    errors_5xx: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    response_seconds: float = 0.0
    connections: int = 0

    def after(self, sample: ProxySample) -> _Total:
        return _Total(
            self.requests + sample.requests,
            self.errors_5xx + sample.errors_5xx,
            self.bytes_in + sample.bytes_in,
            self.bytes_out + sample.bytes_out,
            self.response_seconds + sample.requests * (sample.response_ms or 0.0) / 1000,
            sample.connections,
        )


class ProxyTotals(Collector):
    """What the proxy carried since this worker began, by service."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, _Total] = {}
        self._names: Mapping[str, str] = {}

    def add(self, samples: Iterable[ProxySample]) -> None:
        """What came since the last reading. A service that is not named has no connection open now."""
        with self._lock:
            self._totals = {uuid: replace(total, connections=0) for uuid, total in self._totals.items()}
            for sample in samples:
                self._totals[sample.service_uuid] = self._totals.get(sample.service_uuid, _Total()).after(sample)

    def name(self, names: Mapping[str, str]) -> None:
        """service uuid -> namespace/name of all that are there; the others' totals go."""
        with self._lock:
            self._names = names
            self._totals = {uuid: total for uuid, total in self._totals.items() if uuid in names}

    def collect(self) -> Iterable[Metric]:
        """One family each; a service is labelled with its namespace and its name."""
        with self._lock:
            totals, names = dict(self._totals), self._names
        for family, value in _families():
            for uuid, total in totals.items():
                family.add_metric(names.get(uuid, f"?/{uuid}").split("/", 1), value(total))
            yield family


def _families() -> Iterable[tuple[CounterMetricFamily | GaugeMetricFamily, Callable[[_Total], float]]]:
    def counter(name: str, words: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"skylark_proxy_{name}", words, labels=("namespace", "service"))

    yield counter("requests", "Requests, or connections where it is not HTTP"), lambda t: t.requests
    yield counter("errors_5xx", "Answers of 500 and above"), lambda t: t.errors_5xx
    yield counter("bytes_in", "Bytes from clients"), lambda t: t.bytes_in
    yield counter("bytes_out", "Bytes to clients"), lambda t: t.bytes_out
    yield counter("response_seconds", "Response time of all requests together"), lambda t: t.response_seconds
    yield (
        GaugeMetricFamily("skylark_proxy_connections", "Connections open now", labels=("namespace", "service")),
        lambda t: t.connections,
    )


class Figures:
    """All figures of the worker. Every method is cheap, and callable from every thread."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.proxy = ProxyTotals()
        registry.register(self.proxy)
        self._passes = Histogram(
            "skylark_pass_seconds", "Duration of reconcile passes", ["scope"], buckets=_PASS_BUCKETS, registry=registry
        )
        self._failed = Counter("skylark_passes_failed", "Passes that ended in an error", registry=registry)
        self._actions = Histogram(
            "skylark_action_seconds", "Actions carried out", ["verb"], buckets=_CALL_BUCKETS, registry=registry
        )
        self._outcomes = Counter(
            "skylark_actions", "Actions by what came of them", ["verb", "result"], registry=registry
        )
        self._queue = Gauge("skylark_queue_depth", "Actions accepted and not yet ended", ["verb"], registry=registry)
        self._calls = Histogram(
            "skylark_engine_call_seconds",
            "Calls of the engine",
            ["engine", "call"],
            buckets=_CALL_BUCKETS,
            registry=registry,
        )
        self._faults = Counter(
            "skylark_engine_errors", "Calls that the engine refused", ["engine", "call", "fault"], registry=registry
        )
        self._decisions = Counter(
            "skylark_autoscaler_evaluations", "Evaluations by the rule that decided", ["rule"], registry=registry
        )
        self._scaled = Counter("skylark_autoscaler_actions", "Targets changed", ["direction"], registry=registry)
        self._lines = Counter("skylark_log_lines", "Log lines by what became of them", ["result"], registry=registry)
        self._log_bytes = Counter("skylark_log_bytes", "Bytes of stored log lines", registry=registry)
        self._round = Histogram(
            "skylark_sample_round_seconds",
            "Sampling all instances once",
            buckets=_PASS_BUCKETS,
            registry=registry,
        )

        self._verbs = set(_VERBS)
        self._written = Gauge("skylark_figures_timestamp_seconds", "When the worker wrote these", registry=registry)

    def passed(self, seconds: float, *, full: bool) -> None:
        """A pass came to its end."""
        self._passes.labels("all" if full else "some").observe(seconds)

    def pass_failed(self) -> None:
        """A pass ended in an error."""
        self._failed.inc()

    def acted(self, outcome: Outcome) -> None:
        """An action came to its end."""
        verb = outcome.job.verb
        self._actions.labels(verb).observe(outcome.seconds)
        result = "failed" if outcome.error else "revoked" if outcome.revoked else "done"
        self._outcomes.labels(verb, result).inc()

    def called(self, engine: str, call: str, seconds: float, error: BaseException | None) -> None:
        """A call of the engine was answered, or failed."""
        self._calls.labels(engine, call).observe(seconds)
        if error is not None:
            fault = error.fault.value if isinstance(error, EngineError) else type(error).__name__
            self._faults.labels(engine, call, fault).inc()

    def evaluated(self, rule: str, change: int) -> None:
        """The autoscaler judged a service: by which rule, and by how many instances its target changed."""
        self._decisions.labels(rule).inc()
        if change:
            self._scaled.labels("up" if change > 0 else "down").inc()

    def logged(self, lines: int, size_bytes: int, dropped: int) -> None:
        """Log lines were stored, and others dropped by a limit."""
        self._lines.labels("stored").inc(lines)
        self._lines.labels("dropped").inc(dropped)
        self._log_bytes.inc(size_bytes)

    def sampled(self, seconds: float) -> None:
        """A round of samples was taken."""
        self._round.observe(seconds)

    def write(self, path: Path, *, queued: Mapping[str, int], names: Callable[[], Mapping[str, str]]) -> None:
        """Everything as text, in place of the last. `queued`: by verb; `names`: of services. Raises OSError."""
        self._written.set_to_current_time()
        self._verbs |= queued.keys()  # a queue that is empty now is told as 0, not as unknown
        for verb in self._verbs:
            self._queue.labels(verb).set(queued.get(verb, 0))
        self.proxy.name(names())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(path), self.registry)


class FiguresFile:
    """The figures where the API finds them. That they can't be written is told once, and so is that they can again."""

    def __init__(
        self, figures: Figures, path: Path, queued: Callable[[], Mapping[str, int]], names: Callable[[], dict[str, str]]
    ) -> None:
        self._figures, self._path, self._queued, self._names = figures, path, queued, names
        self._told = ""

    def write(self) -> None:
        """Bring the file up to date."""
        try:
            self._figures.write(self._path, queued=self._queued(), names=self._names)
        except (OSError, SQLAlchemyError) as error:
            trouble = str(error).splitlines()[0]
            if trouble != self._told:
                log.warning("figures for Prometheus can't be written, those of before are shown: %s", trouble)
            self._told = trouble
            return
        if self._told:
            log.info("figures for Prometheus are written again")
        self._told = ""
