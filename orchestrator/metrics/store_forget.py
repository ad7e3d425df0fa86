"""Forgetting a service: all its rows, in small transactions that let the rounds in between."""

from __future__ import annotations

from orchestrator.metrics.store_file import MetricFile
from orchestrator.metrics.store_names import Names
from orchestrator.metrics.store_reads import SPAN, clamp, number_of

_BITES = {"minute": 240, "hour": 24}  # of the table's key, in one transaction
_TABLES = (
    ("raw", "minute", "series"),
    ("usage_minutes", "hour", "series"),
    ("proxy_raw", "minute", "service"),
    ("service_minutes", "hour", "service"),
)


def forget_service(file: MetricFile, names: Names, service_uuid: str) -> None:
    """Delete the service's rows, its names last: interrupted, it can be done again."""
    with file.read() as db:
        service = None if db is None else number_of(db, service_uuid)
        if db is None or service is None:
            return
        ranges = [clamp(db, table, column, 0, 2**62) for table, column, _ in _TABLES]
    for (table, column, key), found in zip(_TABLES, ranges, strict=True):
        if found is not None:
            _delete(file, service, table, column, key, *found)
    with file.write() as writer:
        writer.execute("DELETE FROM series WHERE service = ?", (service,))
        writer.execute("DELETE FROM services WHERE id = ?", (service,))
        names.forget()  # before the next round can use them


def _delete(file: MetricFile, service: int, table: str, column: str, key: str, first: int, last: int) -> None:
    numbers = "SELECT id FROM series WHERE service = ?" if key == "series" else "SELECT ?"
    query = f"{SPAN} DELETE FROM {table} WHERE {column} IN (SELECT n FROM span) AND {key} IN ({numbers})"
    for start in range(first, last + 1, _BITES[column]):
        with file.write() as db:
            db.execute(query, (start, min(last, start + _BITES[column] - 1), service))
