"""Samples for tests of the metric store, as short to write as can be."""

from __future__ import annotations

from pathlib import Path

from orchestrator.metrics.samples import ProxySample, Reading, Sample
from orchestrator.metrics.store import MetricStore

HOUR = 3600
T0 = 1_800_000_000  # a whole hour, epoch seconds
MIB = 1024 * 1024


def make_store(folder: Path, *, raw_hours: int = 24, rollup_days: int = 30, max_mb: float = 256) -> MetricStore:
    return MetricStore(folder, raw_hours=raw_hours, rollup_days=rollup_days, max_bytes=int(max_mb * MIB))


def sample(
    at: float,
    *,
    service: str = "s",
    instance: str = "i",
    cores: float | None = 0.1,
    memory: int = 100 * MIB,
    rx: int = 0,
    tx: int = 0,
    rx_errors: int = 0,
    cpu_ns: int = 7,
    limit: float = 0.25,
) -> Sample:
    """`at`: seconds after T0. The limits are those of size XS."""
    reading = Reading(round((T0 + at) * 1000), cpu_ns, memory, rx, rx_errors, tx, 0)
    return Sample(service, instance, reading, cores, limit, 512 * MIB)


def proxy(at: float, requests: int = 10, *, service: str = "s", seconds: float = 5.0, **values: object) -> ProxySample:
    """`at`: seconds after T0."""
    given: dict[str, object] = {"errors_5xx": 0, "connections": 1, "bytes_in": 0, "bytes_out": 0, "response_ms": None}
    return ProxySample(service, round((T0 + at) * 1000), seconds, requests, **(given | values))  # type: ignore[arg-type]
