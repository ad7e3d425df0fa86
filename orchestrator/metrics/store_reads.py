"""The metric store's queries: an open connection in, values out. Times are minutes since 1970 where not named."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from orchestrator.metrics.rollup_minutes import MINUTE_MS, Series, service_minute, usage_minute
from orchestrator.metrics.rollup_totals import Limits, ProxyRow, RawRow, ServiceTotals, UsageTotals

ASKED_AT_ONCE = 500  # values in one statement
_RAW = "r.minute * 60000 + r.at, r.series, cpu_ns, memory, rx_bytes, rx_errors, tx_bytes, tx_errors, cores"
_PROXY = "p.minute * 60000 + p.at, ms, requests, errors_5xx, connections, bytes_in, bytes_out, response_ms"
SPAN = "WITH RECURSIVE span(n) AS (SELECT ? UNION ALL SELECT n + 1 FROM span WHERE n < ?)"


def number_of(db: sqlite3.Connection, service_uuid: str) -> int | None:
    """The service's number; None: nothing is known of it."""
    row = db.execute("SELECT id FROM services WHERE uuid = ?", (service_uuid,)).fetchone()
    return None if row is None else int(row[0])


def series_of(db: sqlite3.Connection, services: Collection[int], first: int, last: int) -> dict[int, Series]:
    """The series of these services that may have something in the minutes [first, last], by number."""
    query = "SELECT id, service, instance, cpu_limit, memory_limit FROM series"
    query += " WHERE service IN ({}) AND first_hour <= ? AND last_hour >= ? ORDER BY id"
    rows = _ask_in_parts(db, query, services, (last // 60, first // 60))
    return {row[0]: Series(row[0], row[1], row[2], Limits(row[3], row[4])) for row in rows}


def all_series(db: sqlite3.Connection, minute: int) -> dict[int, Series]:
    """The series of all services that may have something in this minute, by number."""
    query = "SELECT id, service, instance, cpu_limit, memory_limit FROM series"
    query += " WHERE first_hour <= ? AND last_hour >= ?"
    rows = db.execute(query, (minute // 60, minute // 60))
    return {row[0]: Series(row[0], row[1], row[2], Limits(row[3], row[4])) for row in rows}


def minute_rows(db: sqlite3.Connection, minute: int) -> list[RawRow]:
    """All samples of a minute, by series and time."""
    query = f"SELECT {_RAW} FROM raw r WHERE minute = ? ORDER BY minute, series, at"
    return [RawRow._make(row) for row in db.execute(query, (minute,))]


def last_rows(db: sqlite3.Connection, minute: int) -> dict[int, RawRow]:
    """By series: its last sample of the minute. (SQLite takes bare columns from the row that has the maximum.)"""
    query = f"SELECT max(at), {_RAW} FROM raw r WHERE minute = ? GROUP BY series"
    return {row[2]: RawRow._make(row[1:]) for row in db.execute(query, (minute,))}


def raw_rows(db: sqlite3.Connection, series: Collection[int], start_ms: int, end_ms: int) -> list[RawRow]:
    """Samples of these series in the milliseconds [start_ms, end_ms], by time."""
    span = clamp(db, "raw", "minute", start_ms // MINUTE_MS, end_ms // MINUTE_MS)
    query = f"{SPAN} SELECT {_RAW} FROM span CROSS JOIN raw r ON r.minute = span.n AND r.series IN ({{}})"
    query += " WHERE r.minute * 60000 + r.at BETWEEN ? AND ?"
    rows = [] if span is None else _ask_in_parts(db, query, series, (start_ms, end_ms), before=span)
    return sorted(map(RawRow._make, rows), key=itemgetter(0))


def proxy_rows(
    db: sqlite3.Connection, services: Collection[int] | None, first: int, last: int
) -> dict[int, list[ProxyRow]]:
    """By service (None: of all): the proxy's samples in the minutes [first, last], by time; those without left out."""
    span = clamp(db, "proxy_raw", "minute", first, last)
    query = f"{SPAN} SELECT p.service, {_PROXY} FROM span CROSS JOIN proxy_raw p"
    query += " ON p.minute = span.n"
    found: defaultdict[int, list[ProxyRow]] = defaultdict(list)
    if span is not None:
        some = f"{query} AND p.service IN ({{}})"
        rows = db.execute(query, span) if services is None else _ask_in_parts(db, some, services, before=span)
        for service, *values in rows:
            found[service].append(ProxyRow._make(values))
    return {service: sorted(rows) for service, rows in found.items()}


def usage_minutes(db: sqlite3.Connection, series: Series, first: int, last: int) -> list[tuple[int, UsageTotals]]:
    """(minute, totals) of a series in [first, last], by time; what is not rolled up yet is, here."""
    unrolled = _unrolled(db)
    columns = ", ".join(UsageTotals._fields)
    found = [
        (minute, UsageTotals._make(values))
        for minute, *values in _by_hour(db, "usage_minutes", "series", columns, series.id, first, last)
        if minute not in unrolled
    ]
    for minute in (each for each in unrolled if first <= each <= last):
        found += [(minute, totals) for totals in usage_minute(raw_rows(db, [series.id], *_of(minute))).values()]
    return sorted(found)


def service_minutes(db: sqlite3.Connection, service: int, first: int, last: int) -> list[tuple[int, ServiceTotals]]:
    """(minute, totals) of a service in [first, last], by time; what is not rolled up yet is, here."""
    unrolled = _unrolled(db)
    columns = ", ".join(ServiceTotals._fields)
    found = [
        (minute, ServiceTotals._make(values))
        for minute, *values in _by_hour(db, "service_minutes", "service", columns, service, first, last)
        if minute not in unrolled
    ]
    for minute in (each for each in unrolled if first <= each <= last):
        found += [(minute, totals) for totals in roll_up_service(db, service, minute).values()]
    return sorted(found, key=lambda part: part[0])


def roll_up_service(db: sqlite3.Connection, service: int, minute: int) -> dict[int, ServiceTotals]:
    """The totals of a minute out of its samples, by the service's number; empty without any."""
    series = series_of(db, [service], minute - 1, minute)
    before = {row.series: row for row in raw_rows(db, series, *_of(minute - 1))}
    return service_minute(raw_rows(db, series, *_of(minute)), before, proxy_rows(db, [service], minute, minute), series)


def _of(minute: int) -> tuple[int, int]:
    """Its first and last millisecond."""
    return minute * MINUTE_MS, (minute + 1) * MINUTE_MS - 1


def _unrolled(db: sqlite3.Connection) -> set[int]:
    return {minute for (minute,) in db.execute("SELECT minute FROM unrolled")}


def _by_hour(
    db: sqlite3.Connection, table: str, key: str, columns: str, number: int, first: int, last: int
) -> Iterator[tuple[Any, ...]]:
    hours = clamp(db, table, "hour", first // 60, last // 60)
    if hours is None:
        return
    query = f"{SPAN} SELECT m.hour * 60 + m.minute AS at, {columns} FROM span CROSS JOIN {table} m"
    query += f" ON m.hour = span.n AND m.{key} = ? WHERE at BETWEEN ? AND ?"
    yield from db.execute(query, (*hours, number, first, last))


def clamp(db: sqlite3.Connection, table: str, column: str, first: int, last: int) -> tuple[int, int] | None:
    """[first, last] without the ends where the table has nothing at all; None when nothing is left."""
    low, high = db.execute(
        f"SELECT (SELECT min({column}) FROM {table}), (SELECT max({column}) FROM {table})"
    ).fetchone()
    if low is None or max(first, low) > min(last, high):
        return None
    return max(first, low), min(last, high)


def _ask_in_parts(
    db: sqlite3.Connection, query: str, numbers: Iterable[int], after: Sequence[int] = (), *, before: Sequence[int] = ()
) -> Iterator[tuple[Any, ...]]:
    """The rows of `query`, whose `{}` stands for some of `numbers` at a time."""
    asked = list(numbers)
    for start in range(0, len(asked), ASKED_AT_ONCE):
        part = asked[start : start + ASKED_AT_ONCE]
        yield from db.execute(query.format(", ".join("?" * len(part))), (*before, *part, *after))
