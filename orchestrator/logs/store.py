"""The log store: every line of our containers in a SQLite file of its own, read back by time range."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.logs.resume import Position

MAX_LINE_BYTES = 64 * 1024
READ_PAGE_LINES = 500  # at most 32 MB in memory, and no read transaction outlives a page
DELETE_PAGE_LINES = 5000  # a purge lets the writers in between
BUSY_TIMEOUT_SECONDS = 10
PAGE_BYTES = 4096

_SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (
    id INTEGER PRIMARY KEY, service_uuid TEXT NOT NULL, instance_uuid TEXT NOT NULL,
    at_ns INTEGER NOT NULL, stream TEXT NOT NULL, message BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS ix_lines_time ON lines (service_uuid, at_ns);
CREATE TABLE IF NOT EXISTS positions (
    container_id TEXT PRIMARY KEY, service_uuid TEXT NOT NULL, at_ns INTEGER NOT NULL, count_at_ns INTEGER NOT NULL);
"""
_SERVICES = """
WITH RECURSIVE s (uuid) AS (
    SELECT min(service_uuid) FROM lines
    UNION ALL SELECT (SELECT min(service_uuid) FROM lines WHERE service_uuid > s.uuid) FROM s WHERE s.uuid IS NOT NULL)
SELECT uuid FROM s WHERE uuid IS NOT NULL
"""  # one index step a service instead of a scan of all lines


class LogStoreError(Exception):
    """The log store could not be written or read. Nothing of the batch was stored; it may be tried again as it is."""


class LogStoreFull(LogStoreError):
    """No room: the disk is full, or the store has reached its `max_bytes`."""


@dataclass(frozen=True)
class NewLine:
    """A line to store. `at_ns`: epoch nanoseconds; `message` without its line end, in whatever encoding."""

    service_uuid: str
    instance_uuid: str
    container_id: str
    at_ns: int
    stream: str
    message: bytes


@dataclass(frozen=True)
class StoredLine:
    """A line as read back; bytes that are no UTF-8 are replaced."""

    service_uuid: str
    instance_uuid: str
    at_ns: int
    stream: str
    message: str


class LogStore:
    """Lines and resume positions in one file, so that both are written together or not at all.

    Safe for several threads of one process, and for any number of reading processes. The file is created by the
    first write; reading before that answers nothing. `max_bytes` limits the file (None: the disk does).
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None

    def append(self, batch: Sequence[NewLine]) -> None:
        """Store the batch, in its order, with its containers' new positions. Raises LogStoreFull, LogStoreError.

        A line longer than 64 KB becomes several of the same time. Within a container time never goes back: a line
        stamped earlier than its predecessor gets the predecessor's time (see `resume`).
        """
        if not batch:
            return
        with self._write() as db:
            positions = {container: _position(db, container) for container in {line.container_id for line in batch}}
            services = {line.container_id: line.service_uuid for line in batch}
            rows: list[tuple[str, str, int, str, bytes]] = []
            for line in batch:
                position = _advance(positions[line.container_id], line.at_ns)
                positions[line.container_id] = position
                for part in _parts(line.message):
                    rows.append((line.service_uuid, line.instance_uuid, position.at_ns, line.stream, part))
            db.executemany(
                "INSERT INTO lines (service_uuid, instance_uuid, at_ns, stream, message) VALUES (?, ?, ?, ?, ?)", rows
            )
            db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
                [(c, services[c], p.at_ns, p.count_at_ns) for c, p in positions.items() if p is not None],
            )

    def position(self, container_id: str) -> Position | None:
        """How far the container's log is stored; None when nothing of it is."""
        with self._read() as db:
            return None if db is None else _position(db, container_id)

    def read(
        self, service_uuid: str, start_ns: int, end_ns: int, *, instance_uuid: str | None = None
    ) -> Iterator[StoredLine]:
        """Lines of a service (or of one instance) with start_ns <= at_ns <= end_ns, oldest first, page by page."""
        query = "SELECT id, instance_uuid, at_ns, stream, message FROM lines WHERE service_uuid = ?"
        query += " AND (at_ns, id) > (?, ?) AND at_ns <= ?"
        wanted = [] if instance_uuid is None else [instance_uuid]
        query += " AND instance_uuid = ?" * len(wanted) + f" ORDER BY at_ns, id LIMIT {READ_PAGE_LINES}"
        after = (start_ns, -1)
        with self._read() as db:
            while db is not None:
                rows = db.execute(query, (service_uuid, *after, end_ns, *wanted)).fetchall()
                for _, instance, at_ns, stream, message in rows:
                    yield StoredLine(service_uuid, instance, at_ns, stream, message.decode("utf-8", "replace"))
                if len(rows) < READ_PAGE_LINES:
                    return
                after = (rows[-1][2], rows[-1][0])

    def services(self) -> tuple[str, ...]:
        """Uuids of the services that have lines here."""
        with self._read() as db:
            return () if db is None else tuple(uuid for (uuid,) in db.execute(_SERVICES))

    def purge(self, before_ns: int) -> int:
        """Drop lines older than `before_ns`; positions stay, or a quiet container's old lines would come back."""
        if not self._path.exists():
            return 0
        return sum(self._delete("service_uuid = ? AND at_ns < ?", (uuid, before_ns)) for uuid in self.services())

    def forget_service(self, service_uuid: str) -> None:
        """Drop all lines and positions of a service."""
        if not self._path.exists():
            return
        with self._write() as db:
            db.execute("DELETE FROM positions WHERE service_uuid = ?", (service_uuid,))
        self._delete("service_uuid = ?", (service_uuid,))

    def forget_container(self, container_id: str) -> None:
        """Drop the position of a container that is removed; its lines stay."""
        if not self._path.exists():
            return
        with self._write() as db:
            db.execute("DELETE FROM positions WHERE container_id = ?", (container_id,))

    def close(self) -> None:
        """Give the file back; a later write opens it again."""
        with self._lock:
            self._drop_writer()

    def _delete(self, condition: str, values: tuple[str | int, ...]) -> int:
        query = f"DELETE FROM lines WHERE id IN (SELECT id FROM lines WHERE {condition} LIMIT {DELETE_PAGE_LINES})"
        total = 0
        while True:
            with self._write() as db:
                deleted = db.execute(query, values).rowcount
            total += deleted
            if deleted < DELETE_PAGE_LINES:
                return total

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One writing transaction; any fault rolls it back and closes the connection, so that the next starts clean."""
        with self._lock:
            try:
                db = self._writer = self._writer or self._open_writer()
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._drop_writer()
                raise _fault(error) from error
            except BaseException:
                self._drop_writer()
                raise

    def _open_writer(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # a power cut costs the last lines and their position together
            db.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
            if self._max_bytes is not None:
                db.execute(f"PRAGMA max_page_count = {max(1, self._max_bytes // PAGE_BYTES)}")
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except BaseException:
            db.close()
            raise
        return db

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()  # rolls back what was not committed
            self._writer = None

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection | None]:
        """A read-only connection; None while there is nothing to read."""
        if not self._path.exists():
            yield None
            return
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(
                uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
            with closing(connection) as db:
                made = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'positions'").fetchone()[0]
                yield db if made else None
        except sqlite3.Error as error:
            raise _fault(error) from error


def _position(db: sqlite3.Connection, container_id: str) -> Position | None:
    query = "SELECT at_ns, count_at_ns FROM positions WHERE container_id = ?"
    row = db.execute(query, (container_id,)).fetchone()
    return None if row is None else Position(*row)


def _advance(position: Position | None, at_ns: int) -> Position:
    """The position after one more line."""
    if position is None or at_ns > position.at_ns:
        return Position(at_ns, 1)
    return Position(position.at_ns, position.count_at_ns + 1)


def _parts(message: bytes) -> Iterator[bytes]:
    """The message in pieces of at most 64 KB, cut between characters where it is UTF-8."""
    start = 0
    while len(message) - start > MAX_LINE_BYTES:
        end = start + MAX_LINE_BYTES
        cut = next((end - back for back in range(4) if message[end - back] & 0xC0 != 0x80), end)
        yield message[start:cut]
        start = cut
    yield message[start:]


def _fault(error: sqlite3.Error | OSError) -> LogStoreError:
    if isinstance(error, OSError):
        kind = LogStoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else LogStoreError
        return kind(f"log store: {error.strerror}")
    code = getattr(error, "sqlite_errorcode", 0)
    full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
    return (LogStoreFull if full else LogStoreError)(f"log store: {error}")
