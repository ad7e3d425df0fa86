"""Windows for the autoscaler and points for users, out of one open connection."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from orchestrator.metrics import store_reads as reads
from orchestrator.metrics.query_periods import Span
from orchestrator.metrics.query_points import InstancePoint, ServicePoint, instance_points_of, service_points_of
from orchestrator.metrics.rollup_minutes import MINUTE_MS
from orchestrator.metrics.rollup_totals import (
    LONGEST_GAP_MS,
    ROUND_MS,
    ProxyRow,
    RawRow,
    ServiceTotals,
    proxy_totals,
    round_totals,
    rounds,
    usage_of,
)
from orchestrator.metrics.samples import ProxySample, Reading, Sample


def window(
    db: sqlite3.Connection, service_uuids: Collection[str], start_ms: int, end_ms: int
) -> Mapping[str, Sequence[Sample]]:
    """As MetricWindows.window."""
    uuids = _numbers(db, service_uuids)
    first, last = start_ms // MINUTE_MS, end_ms // MINUTE_MS
    series = reads.series_of(db, uuids, first, last)
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for row in reads.raw_rows(db, series, start_ms, end_ms):
        _, service, instance, limits = series[row.series]
        uuid = uuids[service]
        found[uuid].append(Sample(uuid, instance, Reading(row.at_ms, *row[2:8]), row.cores, *limits))
    return dict(found)


def proxy_window(
    db: sqlite3.Connection, service_uuids: Collection[str], start_ms: int, end_ms: int
) -> Mapping[str, Sequence[ProxySample]]:
    """As MetricWindows.proxy_window."""
    uuids = _numbers(db, service_uuids)
    found: dict[str, Sequence[ProxySample]] = {}
    for number, rows in reads.proxy_rows(db, uuids, start_ms // MINUTE_MS, end_ms // MINUTE_MS).items():
        within = [_proxy_sample(uuids[number], row) for row in rows if start_ms <= row.at_ms <= end_ms]
        if within:
            found[uuids[number]] = within
    return found


def instance_points(
    db: sqlite3.Connection, service_uuid: str, instance_uuid: str, span: Span
) -> Sequence[InstancePoint]:
    """As MetricStore.instance_points."""
    service = reads.number_of(db, service_uuid)
    if service is None or not span.points:
        return []
    first, last = _minutes(span)
    own = [s for s in reads.series_of(db, [service], first, last).values() if s.instance_uuid == instance_uuid]
    if span.raw:
        limits = {series.id: series.limits for series in own}
        rows = reads.raw_rows(db, limits, span.start * 1000, span.end * 1000 + 999)
        return instance_points_of([(r.at_ms // 1000, usage_of([r]), limits[r.series]) for r in rows], span.period)
    parts = [
        (minute * 60, totals, series.limits)
        for series in own
        for minute, totals in reads.usage_minutes(db, series, first, last)
    ]
    return instance_points_of(sorted(parts, key=lambda part: part[1].last_at_ms), span.period)


def service_points(db: sqlite3.Connection, service_uuid: str, span: Span) -> Sequence[ServicePoint]:
    """As MetricStore.service_points."""
    service = reads.number_of(db, service_uuid)
    if service is None or not span.points:
        return []
    if span.raw:
        return service_points_of(_rounds(db, service, span), span.period)
    minutes = reads.service_minutes(db, service, *_minutes(span))
    return service_points_of([(minute * 60, totals) for minute, totals in minutes], span.period)


def _rounds(db: sqlite3.Connection, service: int, span: Span) -> list[tuple[int, ServiceTotals]]:
    """(second, totals) of each round, and of each sample of the proxy, that ended in the span, by time.

    Reading begins a while before it, as what a counter grew by takes the sample before, and ends a while after it, so
    that no round is cut in two.
    """
    first, last = _minutes(span)
    start_ms, end_ms = span.start * 1000 - LONGEST_GAP_MS - ROUND_MS, span.end * 1000 + 999 + ROUND_MS
    series = reads.series_of(db, [service], first - 2, last + 1)
    limits = {number: each.limits for number, each in series.items()}
    previous: dict[int, RawRow] = {}
    parts = []
    for own in rounds(reads.raw_rows(db, series, start_ms, end_ms)):
        parts.append((own[-1].at_ms // 1000, round_totals(own, limits, previous)))
    for row in reads.proxy_rows(db, [service], first, last).get(service, ()):
        parts.append((row.at_ms // 1000, proxy_totals([row])))
    return sorted((part for part in parts if span.start <= part[0] <= span.end), key=lambda part: part[0])


def _minutes(span: Span) -> tuple[int, int]:
    """First and last minute of the span's points."""
    return span.first // 60, (span.last + span.period - 1) // 60


def _numbers(db: sqlite3.Connection, service_uuids: Collection[str]) -> dict[int, str]:
    """Numbers of the services of which there is something, with their uuids."""
    found = ((reads.number_of(db, uuid), uuid) for uuid in service_uuids)
    return {number: uuid for number, uuid in found if number is not None}


def _proxy_sample(uuid: str, row: ProxyRow) -> ProxySample:
    return ProxySample(uuid, row.at_ms, row.ms / 1000, *row[2:])
