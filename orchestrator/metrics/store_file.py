"""The metric store's SQLite file: its tables, its connections, its size, and its faults in our words."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

BUSY_TIMEOUT_SECONDS = 10
PAGE_BYTES = 4096
LOG_BYTES = 8 * 1024 * 1024  # what SQLite's write-ahead log may take beside the tables, at most a quarter
VERSION = 1

# The clustering is the design: a round of samples goes into the few pages of its minute, a query of one instance
# reads one page a minute (raw) or an hour (roll-ups), and what is too old is one range at the beginning.
# `at`: milliseconds into the minute; `minute`: minutes since 1970, in roll-ups minutes into the hour.
_SCHEMA = f"""
CREATE TABLE services (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE,
    first_hour INTEGER NOT NULL, last_hour INTEGER NOT NULL);
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT, service INTEGER NOT NULL, instance TEXT NOT NULL,
    cpu_limit REAL NOT NULL, memory_limit INTEGER NOT NULL,
    first_hour INTEGER NOT NULL, last_hour INTEGER NOT NULL,
    UNIQUE (service, instance, cpu_limit, memory_limit));
CREATE TABLE raw (
    minute INTEGER, series INTEGER, at INTEGER, cpu_ns INTEGER, memory INTEGER,
    rx_bytes INTEGER, rx_errors INTEGER, tx_bytes INTEGER, tx_errors INTEGER, cores REAL,
    PRIMARY KEY (minute, series, at)) WITHOUT ROWID;
CREATE TABLE proxy_raw (
    minute INTEGER, service INTEGER, at INTEGER, ms INTEGER, requests INTEGER, errors_5xx INTEGER,
    connections INTEGER, bytes_in INTEGER, bytes_out INTEGER, response_ms REAL,
    PRIMARY KEY (minute, service, at)) WITHOUT ROWID;
CREATE TABLE usage_minutes (
    hour INTEGER, series INTEGER, minute INTEGER, samples INTEGER, cpu_samples INTEGER, cpu_sum REAL, cpu_max REAL,
    memory_sum INTEGER, memory_max INTEGER, last_at_ms INTEGER, cpu_ns INTEGER,
    rx_bytes INTEGER, rx_errors INTEGER, tx_bytes INTEGER, tx_errors INTEGER,
    PRIMARY KEY (hour, series, minute)) WITHOUT ROWID;
CREATE TABLE service_minutes (
    hour INTEGER, service INTEGER, minute INTEGER, rounds INTEGER, samples INTEGER, cpu_rounds INTEGER,
    cpu_samples INTEGER, cpu_sum REAL, cpu_fraction_sum REAL, cpu_fraction_max REAL, memory_sum INTEGER,
    memory_fraction_sum REAL, memory_fraction_max REAL, net_ms INTEGER, rx_bytes INTEGER, rx_errors INTEGER,
    tx_bytes INTEGER, tx_errors INTEGER, proxy_ms INTEGER, requests INTEGER, errors_5xx INTEGER, bytes_in INTEGER,
    bytes_out INTEGER, answered INTEGER, response_sum REAL, connections_max INTEGER,
    PRIMARY KEY (hour, service, minute)) WITHOUT ROWID;
CREATE TABLE unrolled (minute INTEGER PRIMARY KEY);
PRAGMA user_version = {VERSION};
"""


class MetricStoreError(Exception):
    """The metric store could not be written or read. Nothing of the round was stored; it may be given again."""


class MetricStoreFull(MetricStoreError):
    """No room: the disk is full, or not even one round fits into the store's `max_bytes`."""


class MetricFile:
    """One writer with a transaction at a time (whichever thread), and readers that never wait for it."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._log_bytes = min(LOG_BYTES, max_bytes // 4)
        self.most_pages = max(1, (max_bytes - self._log_bytes) // PAGE_BYTES)
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One writing transaction; any fault rolls it back and closes the connection, so that the next starts clean."""
        with self._lock:
            try:
                db = self._writer = self._writer or self._open()
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._drop_writer()
                raise _fault(error) from error
            except BaseException:
                self._drop_writer()
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection | None]:
        """A read-only connection that sees one state of the file; None while nothing was ever written."""
        if not self.path.exists():
            yield None
            return
        try:
            with closing(_connect(f"{self.path.absolute().as_uri()}?mode=ro")) as db:
                db.execute("BEGIN")
                yield db if _version(db) else None
        except sqlite3.Error as error:
            raise _fault(error) from error

    def close(self) -> None:
        """Give the file back; a later write opens it again."""
        with self._lock:
            self._drop_writer()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = _connect(self.path.absolute().as_uri())
        try:
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # or a smaller `max_bytes` could never make the file smaller
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # one flush a round: even a power cut costs no more than that round
            db.execute(f"PRAGMA wal_autocheckpoint = {max(1, self._log_bytes // PAGE_BYTES // 2)}")
            db.execute(f"PRAGMA journal_size_limit = {self._log_bytes}")
            db.execute(f"PRAGMA max_page_count = {self.most_pages}")
            db.execute("BEGIN IMMEDIATE")
            if not _version(db):
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()  # rolls back what was not committed
            self._writer = None


def all_pages(db: sqlite3.Connection) -> int:
    """Pages of the file."""
    return _number(db, "PRAGMA page_count")


def used_pages(db: sqlite3.Connection) -> int:
    """Pages that hold something."""
    return all_pages(db) - _number(db, "PRAGMA freelist_count")


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)


def _version(db: sqlite3.Connection) -> int:
    version = _number(db, "PRAGMA user_version")
    if version not in (0, VERSION):
        raise MetricStoreError(f"metric store: the file is of version {version}, this Skylark knows {VERSION}")
    return version


def _number(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def _fault(error: sqlite3.Error | OSError) -> MetricStoreError:
    if isinstance(error, OSError):
        kind = MetricStoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else MetricStoreError
        return kind(f"metric store: {error.strerror}")
    code = getattr(error, "sqlite_errorcode", 0)
    full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
    return (MetricStoreFull if full else MetricStoreError)(f"metric store: {error}")
