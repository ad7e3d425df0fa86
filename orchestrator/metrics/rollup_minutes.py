"""One minute of samples as what is kept of it: a row an instance, a row a service. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from orchestrator.metrics.rollup_totals import (
    Limits,
    ProxyRow,
    RawRow,
    ServiceTotals,
    UsageTotals,
    merge_service,
    proxy_totals,
    round_totals,
    rounds,
    usage_of,
)

MINUTE_MS = 60_000


class Series(NamedTuple):
    """An instance with certain limits, by number. Other limits make another series of the same instance."""

    id: int
    service: int
    instance_uuid: str
    limits: Limits


def usage_minute(rows: Iterable[RawRow]) -> dict[int, UsageTotals]:
    """By series: its totals. `rows`: a minute's, by series and time."""
    return {series: usage_of(list(own)) for series, own in groupby(rows, key=attrgetter("series"))}


def service_minute(
    rows: Iterable[RawRow],
    previous: Mapping[int, RawRow],
    proxy: Mapping[int, Sequence[ProxyRow]],
    series: Mapping[int, Series],
) -> dict[int, ServiceTotals]:
    """By service: its totals. `rows`: a minute's, in any order; `previous`: each series' last sample before it."""
    limits = {number: each.limits for number, each in series.items()}
    before: MutableMapping[int, RawRow] = dict(previous)
    by_service: defaultdict[int, list[RawRow]] = defaultdict(list)
    for row in rows:
        by_service[series[row.series].service].append(row)
    parts: defaultdict[int, list[ServiceTotals]] = defaultdict(list)
    for service, own in by_service.items():
        own.sort(key=attrgetter("at_ms"))
        parts[service] += [round_totals(each, limits, before) for each in rounds(own)]
    for service, carried in proxy.items():
        parts[service].append(proxy_totals(carried))
    return {service: merge_service(own) for service, own in parts.items()}
