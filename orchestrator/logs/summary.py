"""What is stored, in a few words: services, days, lines and bytes, over all partitions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from orchestrator.logs.errors import fault, is_damage
from orchestrator.logs.partition import DAY_NS, day_of, partitions, reader, size_on_disk

_NEXT = "SELECT min_ns FROM chunks WHERE service_id = ? AND min_ns >= ? ORDER BY min_ns LIMIT 1"


T = TypeVar("T")


@dataclass(frozen=True)
class Statistics:
    """`lines` stored now, `text_bytes`: of their messages, `bytes`: of them packed, `disk_bytes`: of all files."""

    lines: int
    text_bytes: int
    bytes: int
    disk_bytes: int
    partitions: int


def statistics(folder: Path) -> Statistics:
    """Sums over all partitions; damaged ones count on the disk only."""
    rows = of_each(
        folder, lambda db: db.execute("SELECT total(lines), total(text_bytes), total(bytes) FROM services").fetchone()
    )
    lines, text, size = (int(sum(row[column] for row in rows)) for column in range(3))
    return Statistics(lines, text, size, size_on_disk(folder), len(rows))


def services(folder: Path) -> tuple[str, ...]:
    """Uuids of the services with lines."""
    found = of_each(folder, lambda db: db.execute("SELECT service FROM services WHERE lines > 0").fetchall())
    return tuple(sorted({row[0] for rows in found for row in rows}))


def days(folder: Path, service_uuid: str) -> tuple[str, ...]:
    """UTC days (YYYYMMDD) of the service's lines: one index step each, for no chunk reaches over midnight."""
    found = of_each(folder, lambda db: _days(db, service_uuid))
    return tuple(sorted({day for some in found for day in some}))


def of_each(folder: Path, ask: Callable[[sqlite3.Connection], T]) -> list[T]:
    """The answers of all partitions that can be read, oldest first. Raises LogStoreError."""
    answers = []
    for path in partitions(folder):
        try:
            with reader(path) as db:
                if db is not None:
                    answers.append(ask(db))
        except sqlite3.Error as error:
            if not is_damage(error):
                raise fault(error) from error
    return answers


def _days(db: sqlite3.Connection, service_uuid: str) -> set[str]:
    found: set[str] = set()
    service = db.execute("SELECT id FROM services WHERE service = ?", (service_uuid,)).fetchone()
    since = -(2**63)
    while service and (row := db.execute(_NEXT, (service[0], since)).fetchone()):
        found.add(day_of(row[0]))
        since = (row[0] // DAY_NS + 1) * DAY_NS
    return found
