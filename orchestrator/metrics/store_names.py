"""Small numbers in place of uuids, remembered between rounds, and in which hours there is something of each."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from orchestrator.metrics.samples import Sample


@dataclass
class _Known:
    id: int
    first_hour: int
    last_hour: int


class Names:
    """The writer's memory of the numbers. Forget it whenever a transaction failed or another one may have written."""

    def __init__(self) -> None:
        self._services: dict[str, _Known] = {}
        self._series: dict[tuple[int, str, float, int], _Known] = {}
        self._newest_hour = 0

    def forget(self) -> None:
        """Ask the file again."""
        self._services.clear()
        self._series.clear()

    def begin(self, hour: int) -> None:
        """A round of `hour` comes. Once an hour the memory is emptied, so that past instances do not stay in it."""
        if hour != self._newest_hour:
            self.forget()
            self._newest_hour = hour

    def service(self, db: sqlite3.Connection, uuid: str, hour: int) -> int:
        """The service's number; it has something in `hour` now."""
        known = self._services.get(uuid)
        if known is None:
            db.execute(
                "INSERT OR IGNORE INTO services (uuid, first_hour, last_hour) VALUES (?, ?, ?)", (uuid, hour, hour)
            )
            query = "SELECT id, first_hour, last_hour FROM services WHERE uuid = ?"
            known = self._services[uuid] = _Known(*db.execute(query, (uuid,)).fetchone())
        _reach(db, "services", known, hour)
        return known.id

    def series(self, db: sqlite3.Connection, sample: Sample, hour: int) -> int:
        """The number of the sample's instance with its limits; it has something in `hour` now."""
        service = self.service(db, sample.service_uuid, hour)
        key = (service, sample.instance_uuid, sample.cpu_limit_cores, sample.memory_limit_bytes)
        known = self._series.get(key)
        if known is None:
            columns = "service, instance, cpu_limit, memory_limit, first_hour, last_hour"
            db.execute(f"INSERT OR IGNORE INTO series ({columns}) VALUES (?, ?, ?, ?, ?, ?)", (*key, hour, hour))
            query = "SELECT id, first_hour, last_hour FROM series"
            query += " WHERE service = ? AND instance = ? AND cpu_limit = ? AND memory_limit = ?"
            known = self._series[key] = _Known(*db.execute(query, key).fetchone())
        _reach(db, "series", known, hour)
        return known.id


def _reach(db: sqlite3.Connection, table: str, known: _Known, hour: int) -> None:
    if known.first_hour <= hour <= known.last_hour:
        return
    known.first_hour, known.last_hour = min(known.first_hour, hour), max(known.last_hour, hour)
    query = f"UPDATE {table} SET first_hour = ?, last_hour = ? WHERE id = ?"
    db.execute(query, (known.first_hour, known.last_hour, known.id))
