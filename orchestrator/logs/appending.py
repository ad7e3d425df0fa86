"""The partition that is written: batches become chunks in it, in one transaction with the positions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator.logs.chunks import Packed, cut, ordered
from orchestrator.logs.lines import Batch
from orchestrator.logs.partition import is_made, make_tables, meta, open_writer

INSERT_CHUNK = """
INSERT INTO chunks (service_id, source_id, min_ns, max_ns, first_seq, last_seq, lines, text_bytes, bytes, head, text)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_COUNT = """
UPDATE services SET lines = lines + ?, text_bytes = text_bytes + ?, bytes = bytes + ?,
    min_ns = min(min_ns, ?), max_ns = max(max_ns, ?) WHERE id = ?
"""
_NOTHING_YET = (2**63 - 1, -(2**63))  # min_ns, max_ns
_SOURCES = """
SELECT service_id, instance, container, id FROM sources
WHERE container IN (SELECT container FROM positions) ORDER BY id
"""  # the newest of several is the one that goes on
_POSITION = "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)"


class Current:
    """The newest partition with its writing connection. Used under the archive's lock.

    Keeps in memory what each append needs (sources, latest times, the next number); what another process or a failed
    transaction may have changed is read again.
    """

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self.db = db
        self._version = -1

    @classmethod
    def open(cls, path: Path, *, max_bytes: int | None) -> Current | None:
        """An existing partition; None: it was never finished. Raises sqlite3.Error, OSError."""
        db = open_writer(path, max_bytes=max_bytes)
        try:
            if is_made(db):
                return cls(path, db)
        except BaseException:
            db.close()
            raise
        db.close()
        return None

    @classmethod
    def make(cls, path: Path, before: Current | None, *, first_seq: int, max_bytes: int | None) -> Current:
        """A new partition that carries on where `before` is: its positions, its numbers. All of it or nothing."""
        db = open_writer(path, max_bytes=max_bytes)
        try:
            db.execute("BEGIN IMMEDIATE")
            make_tables(db)
            if before is not None:
                db.executemany(_POSITION, before.db.execute("SELECT * FROM positions").fetchall())
                first_seq = max(first_seq, meta(before.db, "next_seq"))
            db.executemany(
                "INSERT INTO meta VALUES (?, ?)", [("first_seq", first_seq), ("next_seq", first_seq), ("changes", 0)]
            )
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return cls(path, db)

    def append(self, batches: Iterable[Batch]) -> None:
        """Write the batches; inside a transaction. After a failure `refresh` before the next."""
        self._look()
        counts: dict[int, list[Packed]] = {}
        rows = []
        for batch in batches:
            chunks = self._pack(batch) if batch.lines else []
            service = self._service(batch.service_uuid) if chunks else 0
            counts.setdefault(service, []).extend(chunk for _, chunk in chunks)
            rows += [row(service, source, chunk) for source, chunk in chunks]
            latest = self._latest.get(batch.container_id, -(2**63))
            self.db.execute(_POSITION, (batch.container_id, batch.service_uuid, latest, batch.position))
        self.db.executemany(INSERT_CHUNK, rows)
        self.db.executemany(_COUNT, [_total(service, chunks) for service, chunks in counts.items() if chunks])
        self.db.execute("UPDATE meta SET value = ? WHERE name = 'next_seq'", (self._next_seq,))

    def position(self, container_id: str) -> str | None:
        """What was last stored as the container's position."""
        found = self.db.execute("SELECT position FROM positions WHERE container = ?", (container_id,)).fetchone()
        return None if found is None else str(found[0])

    def forget(self, condition: str, value: str) -> None:
        """Drop positions; inside a transaction."""
        self.db.execute(f"DELETE FROM positions WHERE {condition} = ?", (value,))
        self.refresh()

    def refresh(self) -> None:
        """Believe nothing in memory any more."""
        self._version = -1

    def close(self) -> None:
        """Give the file back; what was not committed is rolled back."""
        self.db.close()

    def _look(self) -> None:
        version = self.db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return
        db = self.db
        self._next_seq = meta(db, "next_seq")
        self._services = dict(db.execute("SELECT service, id FROM services").fetchall())
        latest = db.execute("SELECT container, latest_ns FROM positions").fetchall()
        self._latest: dict[str, int] = dict(latest)
        self._sources = {(s, i, c): number for s, i, c, number in db.execute(_SOURCES)}
        self._version = version

    def _pack(self, batch: Batch) -> list[tuple[int, Packed]]:
        found = []
        container = batch.container_id
        for times, lines, stepped in ordered(batch.lines, self._latest.get(container)):
            source = self._source(batch, new=stepped)
            self._latest[container] = times[-1]
            found += [(source, chunk) for chunk in cut(times, lines, self._next_seq)]
            self._next_seq += len(lines)
        return found

    def _service(self, uuid: str) -> int:
        if uuid not in self._services:
            values = (uuid, *_NOTHING_YET)
            cursor = self.db.execute("INSERT INTO services VALUES (NULL, ?, 0, 0, 0, ?, ?)", values)
            self._services[uuid] = cursor.lastrowid
        return int(self._services[uuid])

    def _source(self, batch: Batch, *, new: bool) -> int:
        """The source of the batch's lines. One whose clock was set back is another: its times begin anew."""
        key = (self._service(batch.service_uuid), batch.instance_uuid, batch.container_id)
        if new or key not in self._sources:
            cursor = self.db.execute("INSERT INTO sources VALUES (NULL, ?, ?, ?)", key)
            assert cursor.lastrowid is not None
            self._sources[key] = cursor.lastrowid
        return self._sources[key]


def row(service: int, source: int, chunk: Packed) -> tuple[int | bytes, ...]:
    """The values for INSERT_CHUNK."""
    numbers = (chunk.min_ns, chunk.max_ns, chunk.first_seq, chunk.last_seq, chunk.lines, chunk.text_bytes)
    return (service, source, *numbers, len(chunk.head) + len(chunk.text), chunk.head, chunk.text)


def _total(service: int, chunks: Sequence[Packed]) -> tuple[int, ...]:
    lines = sum(chunk.lines for chunk in chunks)
    text = sum(chunk.text_bytes for chunk in chunks)
    size = sum(len(chunk.head) + len(chunk.text) for chunk in chunks)
    return lines, text, size, min(c.min_ns for c in chunks), max(c.max_ns for c in chunks), service
