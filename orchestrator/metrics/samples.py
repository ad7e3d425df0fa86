"""Samples as values: what one instance has used, and what the proxy carried for one service. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """An instance's counters at one moment, as the kernel or the engine tells them.

    `at_ms`: epoch milliseconds; `cpu_ns`: CPU time since its start; `memory_bytes`: without inactive file cache, as
    `docker stats` counts; network counters since its start, over all its interfaces but loopback.
    """

    at_ms: int
    cpu_ns: int
    memory_bytes: int
    rx_bytes: int = 0
    rx_errors: int = 0
    tx_bytes: int = 0
    tx_errors: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A reading with what follows from it and the one before.

    `cpu_cores`: cores used on average since the previous reading, None for the first of an instance (or after a gap
    too long to mean anything). `cpu_limit_cores`, `memory_limit_bytes`: the instance's limits by its size.
    """

    service_uuid: str
    instance_uuid: str
    reading: Reading
    cpu_cores: float | None
    cpu_limit_cores: float
    memory_limit_bytes: int

    @property
    def cpu_fraction(self) -> float | None:
        """CPU as a fraction of the instance's limit: what thresholds compare against. 0.6 is 60 %."""
        return None if self.cpu_cores is None else self.cpu_cores / self.cpu_limit_cores

    @property
    def memory_fraction(self) -> float:
        """Memory as a fraction of the instance's limit."""
        return self.reading.memory_bytes / self.memory_limit_bytes


@dataclass(frozen=True, slots=True)
class ProxySample:
    """What the proxy carried for a service between two of its readings (`seconds` apart), ending at `at_ms`.

    `requests`: connections, where an endpoint is no HTTP one; `connections`: open at the moment of the reading;
    `response_ms`: average over the requests, None without any.
    """

    service_uuid: str
    at_ms: int
    seconds: float
    requests: int
    errors_5xx: int
    connections: int
    bytes_in: int
    bytes_out: int
    response_ms: float | None

    @property
    def requests_per_second(self) -> float:
        """The rate over the interval."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0


class MetricWriter(Protocol):
    """The part of the metric store that samplers use."""

    def add(self, samples: Collection[Sample], proxy: Collection[ProxySample] = ()) -> None:
        """Keep one round, in one transaction. Raises MetricStoreError; what failed may be given again."""


class MetricWindows(Protocol):
    """The part of the metric store that the autoscaler uses. Times are epoch milliseconds, both ends included."""

    def window(self, service_uuids: Collection[str], start_ms: int, end_ms: int) -> Mapping[str, Sequence[Sample]]:
        """By service: the samples of its instances, oldest first. Services without any are left out."""

    def proxy_window(
        self, service_uuids: Collection[str], start_ms: int, end_ms: int
    ) -> Mapping[str, Sequence[ProxySample]]:
        """By service: what the proxy carried for it, oldest first."""
