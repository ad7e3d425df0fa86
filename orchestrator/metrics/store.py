"""The metric store: rounds of samples in, roll-ups made as minutes end, windows and points out."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from orchestrator.metrics import store_answers as answers
from orchestrator.metrics.query_periods import Span
from orchestrator.metrics.query_points import InstancePoint, ServicePoint
from orchestrator.metrics.rollup_minutes import MINUTE_MS
from orchestrator.metrics.samples import ProxySample, Sample
from orchestrator.metrics.store_file import MetricFile, MetricStoreError, MetricStoreFull
from orchestrator.metrics.store_forget import forget_service
from orchestrator.metrics.store_names import Names
from orchestrator.metrics.store_retention import Retention
from orchestrator.metrics.store_rollup import roll_up_finished

__all__ = ["MetricStore", "MetricStoreError", "MetricStoreFull"]


class MetricStore:
    """Samples for `raw_hours`, minutes for `rollup_days`, in one SQLite file of at most `max_bytes` in `folder`.

    Safe for several threads of one process, and for any number of reading processes. The file is made by the first
    round; reading before that answers nothing. What is too old, or too much, leaves with the rounds that come in.
    """

    def __init__(self, folder: Path, *, raw_hours: int, rollup_days: int, max_bytes: int) -> None:
        self._file = MetricFile(folder / "metrics.sqlite", max_bytes)
        self._retention = Retention(raw_hours, rollup_days, self._file.most_pages)
        self._names = Names()
        self._data_version = -1

    def add(self, samples: Collection[Sample], proxy: Collection[ProxySample] = ()) -> None:
        """Keep one round, in one transaction. Raises MetricStoreFull, MetricStoreError; it may be given again then."""
        times = [sample.reading.at_ms for sample in samples] + [each.at_ms for each in proxy]
        if not times:
            return
        newest = max(times) // MINUTE_MS
        try:
            with self._file.write() as db:
                self._remember(db, newest // 60)
                if self._retention.make_room(db, newest):
                    self._names.forget()
                self._retention.drop_what_comes_again(db, max(times))
                oldest = self._retention.oldest_raw_minute(newest)
                touched = self._add_samples(db, samples, oldest) | self._add_proxy(db, proxy, oldest)
                if roll_up_finished(db, touched) and self._retention.drop_old(db, newest):
                    self._names.forget()
        except BaseException:
            self._names.forget()  # numbers given in a transaction that came to nothing
            raise

    def window(self, service_uuids: Collection[str], start_ms: int, end_ms: int) -> Mapping[str, Sequence[Sample]]:
        """By service: the samples of its instances in [start_ms, end_ms], oldest first; those without are left out."""
        with self._file.read() as db:
            return {} if db is None else answers.window(db, service_uuids, start_ms, end_ms)

    def proxy_window(
        self, service_uuids: Collection[str], start_ms: int, end_ms: int
    ) -> Mapping[str, Sequence[ProxySample]]:
        """By service: what the proxy carried for it, by samples in [start_ms, end_ms], oldest first."""
        with self._file.read() as db:
            return {} if db is None else answers.proxy_window(db, service_uuids, start_ms, end_ms)

    def has_instance(self, service_uuid: str, instance_uuid: str) -> bool:
        """Whether there is anything of this instance of the service."""
        query = "SELECT 1 FROM series JOIN services s ON s.id = service WHERE s.uuid = ? AND instance = ?"
        with self._file.read() as db:
            return db is not None and db.execute(query, (service_uuid, instance_uuid)).fetchone() is not None

    def instance_points(self, service_uuid: str, instance_uuid: str, span: Span) -> Sequence[InstancePoint]:
        """What an instance used, newest first: its samples when the span is raw, else what its minutes add up to."""
        with self._file.read() as db:
            return [] if db is None else answers.instance_points(db, service_uuid, instance_uuid, span)

    def service_points(self, service_uuid: str, span: Span) -> Sequence[ServicePoint]:
        """What a service's instances used together and what the proxy carried for it, newest first."""
        with self._file.read() as db:
            return [] if db is None else answers.service_points(db, service_uuid, span)

    def services(self) -> tuple[str, ...]:
        """Uuids of the services of which there is something."""
        with self._file.read() as db:
            return () if db is None else tuple(uuid for (uuid,) in db.execute("SELECT uuid FROM services ORDER BY id"))

    def forget_service(self, service_uuid: str) -> None:
        """Drop everything of a service. Interrupted, it can be done again: `services` names it until all is gone."""
        forget_service(self._file, self._names, service_uuid)

    def close(self) -> None:
        """Give the file back; a later round opens it again."""
        self._file.close()
        self._names.forget()

    def _remember(self, db: sqlite3.Connection, hour: int) -> None:
        """Trust the remembered numbers only if nobody else has written since."""
        version = db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._data_version:
            self._names.forget()
            self._data_version = version
        self._names.begin(hour)

    def _add_samples(self, db: sqlite3.Connection, samples: Collection[Sample], oldest: int) -> set[int]:
        """Store those not before the minute `oldest`; the minutes they are of."""
        rows = []
        for sample in samples:
            reading = sample.reading
            minute, at = divmod(reading.at_ms, MINUTE_MS)
            if minute >= oldest:
                series = self._names.series(db, sample, minute // 60)
                network = (reading.rx_bytes, reading.rx_errors, reading.tx_bytes, reading.tx_errors)
                rows.append((minute, series, at, reading.cpu_ns, reading.memory_bytes, *network, sample.cpu_cores))
        db.executemany("INSERT OR REPLACE INTO raw VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return {row[0] for row in rows}

    def _add_proxy(self, db: sqlite3.Connection, proxy: Collection[ProxySample], oldest: int) -> set[int]:
        rows = []
        for each in proxy:
            minute, at = divmod(each.at_ms, MINUTE_MS)
            if minute >= oldest:
                service = self._names.service(db, each.service_uuid, minute // 60)
                carried = (each.requests, each.errors_5xx, each.connections, each.bytes_in, each.bytes_out)
                rows.append((minute, service, at, round(each.seconds * 1000), *carried, each.response_ms))
        db.executemany("INSERT OR REPLACE INTO proxy_raw VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return {row[0] for row in rows}
