"""Points of a series as users read them, made from totals. What was not sampled has no point, and no zero. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from orchestrator.metrics.query_periods import Span
from orchestrator.metrics.rollup_totals import (
    Limits,
    ServiceTotals,
    UsageTotals,
    merge_service,
    merge_usage,
)


@dataclass(frozen=True, slots=True)
class InstancePoint:
    """An instance at, or in the period from, `time` (epoch seconds): averages, maxima and the last counters.

    `cpu_cores`: None while it is not known (a first sample tells none).
    """

    time: int
    last_at_ms: int
    cpu_ns: int
    cpu_cores: float | None
    cpu_cores_max: float | None
    memory_bytes: int
    memory_bytes_max: int
    memory_fraction: float
    rx_bytes: int
    rx_errors: int
    tx_bytes: int
    tx_errors: int


@dataclass(frozen=True, slots=True)
class ServicePoint:
    """A service at, or in the period from, `time` (epoch seconds); None for what nothing is known of.

    `instances`, `cpu_cores`, `memory_bytes`: over all instances at once, on average over the rounds of the period;
    fractions are of an instance's limit; rates are of all instances together; the rest are counts of the period.
    """

    time: int
    instances: float | None
    cpu_cores: float | None
    cpu_fraction: float | None
    cpu_fraction_max: float | None
    memory_bytes: int | None
    memory_fraction: float | None
    memory_fraction_max: float | None
    rx_bytes_per_second: float | None
    tx_bytes_per_second: float | None
    rx_errors: int | None
    tx_errors: int | None
    requests_per_second: float | None
    response_ms: float | None
    errors_5xx: int | None
    connections: int | None
    bytes_in: int | None
    bytes_out: int | None


def instance_points_of(parts: Iterable[tuple[int, UsageTotals, Limits]], period: int) -> list[InstancePoint]:
    """(epoch seconds, totals from then on, limits), oldest first, as points of `period` seconds, newest first."""
    points = []
    for time, group in groupby(parts, key=lambda part: part[0] // period * period):
        own = list(group)
        points.append(_instance_point(time, merge_usage([totals for _, totals, _ in own]), own[-1][2]))
    return points[::-1]


def service_points_of(parts: Iterable[tuple[int, ServiceTotals]], period: int) -> list[ServicePoint]:
    """(epoch seconds, totals from then on), oldest first, as points of `period` seconds, newest first."""
    points = []
    for time, group in groupby(parts, key=lambda part: part[0] // period * period):
        points.append(_service_point(time, merge_service([totals for _, totals in group])))
    return points[::-1]


def _instance_point(time: int, totals: UsageTotals, limits: Limits) -> InstancePoint:
    memory = totals.memory_sum / totals.samples
    return InstancePoint(
        time=time,
        last_at_ms=totals.last_at_ms,
        cpu_ns=totals.cpu_ns,
        cpu_cores=_ratio(totals.cpu_sum, totals.cpu_samples),
        cpu_cores_max=totals.cpu_max,
        memory_bytes=round(memory),
        memory_bytes_max=totals.memory_max,
        memory_fraction=memory / limits.memory,
        rx_bytes=totals.rx_bytes,
        rx_errors=totals.rx_errors,
        tx_bytes=totals.tx_bytes,
        tx_errors=totals.tx_errors,
    )


def _service_point(time: int, t: ServiceTotals) -> ServicePoint:
    memory = _ratio(t.memory_sum, t.rounds)
    counted, carried = t.net_ms > 0, t.proxy_ms > 0
    return ServicePoint(
        time=time,
        instances=_ratio(t.samples, t.rounds),
        cpu_cores=_ratio(t.cpu_sum, t.cpu_rounds),
        cpu_fraction=_ratio(t.cpu_fraction_sum, t.cpu_samples),
        cpu_fraction_max=t.cpu_fraction_max,
        memory_bytes=None if memory is None else round(memory),
        memory_fraction=_ratio(t.memory_fraction_sum, t.samples),
        memory_fraction_max=t.memory_fraction_max,
        rx_bytes_per_second=_ratio(t.rx_bytes, t.net_ms / 1000),
        tx_bytes_per_second=_ratio(t.tx_bytes, t.net_ms / 1000),
        rx_errors=t.rx_errors if counted else None,
        tx_errors=t.tx_errors if counted else None,
        requests_per_second=_ratio(t.requests, t.proxy_ms / 1000),
        response_ms=_ratio(t.response_sum, t.answered),
        errors_5xx=t.errors_5xx if carried else None,
        connections=t.connections_max,
        bytes_in=t.bytes_in if carried else None,
        bytes_out=t.bytes_out if carried else None,
    )


def _ratio(value: float, by: float) -> float | None:
    return value / by if by else None


class MetricReader(Protocol):
    """The part of the metric store that the API uses. Raises MetricStoreError."""

    def has_instance(self, service_uuid: str, instance_uuid: str) -> bool:
        """Whether there is anything of this instance of the service."""

    def instance_points(self, service_uuid: str, instance_uuid: str, span: Span) -> Sequence[InstancePoint]:
        """What an instance used, newest first."""

    def service_points(self, service_uuid: str, span: Span) -> Sequence[ServicePoint]:
        """What a service's instances used together and what the proxy carried for it, newest first."""
