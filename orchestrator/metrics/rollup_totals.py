"""What samples add up to: totals of an instance or of a service over any time, made from samples or merged. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import NamedTuple

ROUND_MS = 2500  # samples of a service within so much belong together, until an instance comes again
LONGEST_GAP_MS = 60_000  # over a longer one nobody knows when the counted bytes went


class RawRow(NamedTuple):
    """A stored sample. `series`: number of an instance with certain limits; `cores`: None for its first sample."""

    at_ms: int
    series: int
    cpu_ns: int
    memory: int
    rx_bytes: int
    rx_errors: int
    tx_bytes: int
    tx_errors: int
    cores: float | None


class ProxyRow(NamedTuple):
    """A stored sample of the proxy: what it carried in `ms` until `at_ms`."""

    at_ms: int
    ms: int
    requests: int
    errors_5xx: int
    connections: int
    bytes_in: int
    bytes_out: int
    response_ms: float | None


class Limits(NamedTuple):
    """What an instance may use, in cores and bytes."""

    cores: float
    memory: int


class UsageTotals(NamedTuple):
    """An instance over some time: sums and maxima over its samples, and its counters as of the last one."""

    samples: int
    cpu_samples: int  # those of which the cores are known
    cpu_sum: float
    cpu_max: float | None
    memory_sum: int
    memory_max: int
    last_at_ms: int
    cpu_ns: int
    rx_bytes: int
    rx_errors: int
    tx_bytes: int
    tx_errors: int


class ServiceTotals(NamedTuple):
    """A service over some time: sums over all samples of all its instances, how many rounds they were, and the proxy.

    `net_ms`: time over which the four network increases were counted; `proxy_ms`: the same of the proxy's;
    `answered`, `response_sum`: requests whose time to answer is known, and the sum of those times in milliseconds.
    """

    rounds: int = 0
    samples: int = 0
    cpu_rounds: int = 0
    cpu_samples: int = 0
    cpu_sum: float = 0.0
    cpu_fraction_sum: float = 0.0
    cpu_fraction_max: float | None = None
    memory_sum: int = 0
    memory_fraction_sum: float = 0.0
    memory_fraction_max: float | None = None
    net_ms: int = 0
    rx_bytes: int = 0
    rx_errors: int = 0
    tx_bytes: int = 0
    tx_errors: int = 0
    proxy_ms: int = 0
    requests: int = 0
    errors_5xx: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    answered: int = 0
    response_sum: float = 0.0
    connections_max: int | None = None


_MAXIMA = frozenset(field for field in ServiceTotals._fields if field.endswith("_max"))


def usage_of(rows: Sequence[RawRow]) -> UsageTotals:
    """The totals of one instance's samples, which are at least one, oldest first."""
    cores = [row.cores for row in rows if row.cores is not None]
    memory = [row.memory for row in rows]
    last = rows[-1]
    return UsageTotals(
        len(rows),
        len(cores),
        sum(cores),
        max(cores, default=None),
        sum(memory),
        max(memory),
        last.at_ms,
        last.cpu_ns,
        *last[4:8],
    )


def merge_usage(parts: Sequence[UsageTotals]) -> UsageTotals:
    """The totals over several spans of time, which are at least one, in order."""
    samples, cpu_samples, cpu_sums, cpu_maxima, memory_sums, memory_maxima = list(zip(*parts, strict=True))[:6]
    return UsageTotals(
        sum(samples),
        sum(cpu_samples),
        sum(cpu_sums),
        max((value for value in cpu_maxima if value is not None), default=None),
        sum(memory_sums),
        max(memory_maxima),
        *parts[-1][6:],
    )


def rounds(rows: Iterable[RawRow]) -> Iterator[list[RawRow]]:
    """The samples of a service, oldest first, as the rounds they were taken in.

    Example: a@0 b@3 c@7 a@5000 b@5004 are two rounds; c is in the first alone, it has ended. Counted by rounds an
    instance that gave way to another in mid-minute makes one instance all the time, not two.
    """
    current: list[RawRow] = []
    seen: set[int] = set()
    for row in rows:
        if current and (row.series in seen or row.at_ms - current[0].at_ms > ROUND_MS):
            yield current
            current, seen = [], set()
        current.append(row)
        seen.add(row.series)
    if current:
        yield current


def round_totals(
    rows: Sequence[RawRow], limits: Mapping[int, Limits], previous: MutableMapping[int, RawRow]
) -> ServiceTotals:
    """The totals of one round. `previous`: each series' sample before; this round takes its place."""
    known = [(row.cores, row.cores / limits[row.series].cores) for row in rows if row.cores is not None]
    fractions = [row.memory / limits[row.series].memory for row in rows]
    gaps: list[int] = []
    rx_bytes = rx_errors = tx_bytes = tx_errors = 0
    for row in rows:
        before = previous.get(row.series)
        previous[row.series] = row
        if before is None or not 0 < row.at_ms - before.at_ms <= LONGEST_GAP_MS:
            continue
        gaps.append(row.at_ms - before.at_ms)
        rx_bytes += _increase(before.rx_bytes, row.rx_bytes)
        rx_errors += _increase(before.rx_errors, row.rx_errors)
        tx_bytes += _increase(before.tx_bytes, row.tx_bytes)
        tx_errors += _increase(before.tx_errors, row.tx_errors)
    return ServiceTotals(
        rounds=1,
        samples=len(rows),
        cpu_rounds=1 if known else 0,
        cpu_samples=len(known),
        cpu_sum=sum(cores for cores, _ in known),
        cpu_fraction_sum=sum(fraction for _, fraction in known),
        cpu_fraction_max=max((fraction for _, fraction in known), default=None),
        memory_sum=sum(row.memory for row in rows),
        memory_fraction_sum=sum(fractions),
        memory_fraction_max=max(fractions),
        net_ms=round(sum(gaps) / len(gaps)) if gaps else 0,
        rx_bytes=rx_bytes,
        rx_errors=rx_errors,
        tx_bytes=tx_bytes,
        tx_errors=tx_errors,
    )


def proxy_totals(rows: Sequence[ProxyRow]) -> ServiceTotals:
    """The totals of what the proxy carried, in at least one sample."""
    answered = [row for row in rows if row.response_ms is not None]
    return ServiceTotals(
        proxy_ms=sum(row.ms for row in rows),
        requests=sum(row.requests for row in rows),
        errors_5xx=sum(row.errors_5xx for row in rows),
        bytes_in=sum(row.bytes_in for row in rows),
        bytes_out=sum(row.bytes_out for row in rows),
        answered=sum(row.requests for row in answered),
        response_sum=sum((row.response_ms or 0.0) * row.requests for row in answered),
        connections_max=max(row.connections for row in rows),
    )


def merge_service(parts: Sequence[ServiceTotals]) -> ServiceTotals:
    """The totals over several spans of time, or of usage and proxy; at least one."""
    if len(parts) == 1:
        return parts[0]
    merged = []
    for field, values in zip(ServiceTotals._fields, zip(*parts, strict=True), strict=True):
        if field in _MAXIMA:
            merged.append(max((value for value in values if value is not None), default=None))
        else:
            merged.append(sum(values))
    return ServiceTotals._make(merged)


def _increase(before: int, now: int) -> int:
    """What a counter grew by; one that is lower than before began anew at 0."""
    return now - before if now >= before else now
