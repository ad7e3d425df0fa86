"""Rolling up minutes within the round that follows them."""

from __future__ import annotations

import sqlite3

from orchestrator.metrics.rollup_minutes import service_minute, usage_minute
from orchestrator.metrics.rollup_totals import ServiceTotals, UsageTotals
from orchestrator.metrics.store_reads import all_series, last_rows, minute_rows, proxy_rows

_USAGE = f"INSERT OR REPLACE INTO usage_minutes VALUES ({', '.join('?' * (3 + len(UsageTotals._fields)))})"
_SERVICE = f"INSERT OR REPLACE INTO service_minutes VALUES ({', '.join('?' * (3 + len(ServiceTotals._fields)))})"


def roll_up_finished(db: sqlite3.Connection, touched: set[int]) -> bool:
    """Roll up the minutes that have samples and got none in this round; whether there were any.

    A minute in `touched` got samples: it stays marked until a round brings it none. As a roll-up is made from all
    samples of its minute and takes the place of an earlier one, doing it again, after a kill or after late samples,
    counts nothing twice. The minute after a late sample is made again too: its network rates begin with that sample.
    """
    db.executemany("INSERT OR IGNORE INTO unrolled VALUES (?)", [(minute,) for minute in touched])
    later = "INSERT OR IGNORE INTO unrolled SELECT ? WHERE EXISTS (SELECT 1 FROM raw WHERE minute = ?)"
    db.executemany(later, [(minute + 1, minute + 1) for minute in touched])
    waiting = {minute for (minute,) in db.execute("SELECT minute FROM unrolled")} - touched
    for minute in sorted(waiting):
        _roll_up(db, minute)
        db.execute("DELETE FROM unrolled WHERE minute = ?", (minute,))
    return bool(waiting)


def _roll_up(db: sqlite3.Connection, minute: int) -> None:
    hour, within = divmod(minute, 60)
    series = all_series(db, minute)
    rows = [row for row in minute_rows(db, minute) if row.series in series]  # a service may be forgotten meanwhile
    usage = usage_minute(rows)
    db.executemany(_USAGE, [(hour, number, within, *totals) for number, totals in usage.items()])
    services = service_minute(rows, last_rows(db, minute - 1), proxy_rows(db, None, minute, minute), series)
    db.executemany(_SERVICE, [(hour, number, within, *totals) for number, totals in services.items()])
