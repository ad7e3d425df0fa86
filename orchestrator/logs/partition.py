"""Partitions: the log store's SQLite files, one for each day of storing: named, made, opened, put aside."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.logs.errors import is_damage

BUSY_TIMEOUT_SECONDS = 10
DAY_NS = 86_400_000_000_000
PAGE_BYTES = 8192
SUFFIX, INDEX_SUFFIX = ".sqlite", ".index"
SIDE_FILES = ("", "-wal", "-shm", "-journal")

_NAME = re.compile(r"\d{8}\.sqlite")
_CHECKPOINT_PAGES = 2000
_JOURNAL_BYTES = 64 * 1024 * 1024
_ROOM_BYTES = 16 * 1024 * 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS services (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL UNIQUE, lines INTEGER NOT NULL, text_bytes INTEGER NOT NULL,
    bytes INTEGER NOT NULL, min_ns INTEGER NOT NULL, max_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS sources (
    id INTEGER PRIMARY KEY, service_id INTEGER NOT NULL, instance TEXT NOT NULL, container TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS ix_sources_service ON sources (service_id);
CREATE TABLE IF NOT EXISTS positions (
    container TEXT PRIMARY KEY, service TEXT NOT NULL, latest_ns INTEGER NOT NULL, position TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, service_id INTEGER NOT NULL, source_id INTEGER NOT NULL,
    min_ns INTEGER NOT NULL, max_ns INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    lines INTEGER NOT NULL, text_bytes INTEGER NOT NULL, bytes INTEGER NOT NULL,
    head BLOB NOT NULL, text BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS ix_chunks_time ON chunks (service_id, min_ns, id, max_ns, source_id, lines, bytes,
    text_bytes);
CREATE INDEX IF NOT EXISTS ix_chunks_seq ON chunks (last_seq, first_seq, text_bytes);
CREATE INDEX IF NOT EXISTS ix_chunks_small ON chunks (source_id, id, min_ns, text_bytes, lines)
    WHERE text_bytes < 32768;
"""  # chunk ids are never used twice: an id stands for the same lines for ever


class DamagedPartition(sqlite3.DatabaseError):
    """The file at `path` is broken."""

    def __init__(self, path: Path, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.path = path
        self.sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def day_of(at_ns: int) -> str:
    """The UTC day of an epoch time: YYYYMMDD."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y%m%d")


def start_of(day: str) -> int:
    """The epoch time in ns at which a day (UTC, YYYYMMDD) begins."""
    return int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def partitions(folder: Path) -> list[Path]:
    """The partitions there are, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def open_writer(path: Path, *, max_bytes: int | None) -> sqlite3.Connection:
    """A writing connection; the file is made where there is none, but not its tables. Raises sqlite3.Error, OSError.

    `max_bytes`: the limit that upkeep keeps. Writing ends above it only, by an eighth and 16 MB: upkeep must see that
    the limit is passed, takes a while to come, and needs room to say what it removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut costs the last lines and their positions together
        db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        db.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
        if max_bytes is not None:
            db.execute(f"PRAGMA max_page_count = {(max_bytes + max_bytes // 8 + _ROOM_BYTES) // PAGE_BYTES}")
    except BaseException:
        db.close()
        raise
    return db


def make_tables(db: sqlite3.Connection) -> None:
    """The schema; inside a transaction, in which the new partition also gets what it must know from the start."""
    for statement in _SCHEMA.split(";"):
        db.execute(statement)


def is_made(db: sqlite3.Connection) -> bool:
    """Whether the partition's first transaction was committed."""
    return bool(db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0])


def meta(db: sqlite3.Connection, name: str) -> int:
    """A number of the partition: `first_seq`, `next_seq` of its lines, `changes`: times that chunks went."""
    return int(db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])


def open_reader(path: Path) -> sqlite3.Connection | None:
    """A read-only connection; None: there is nothing to read (any more, or yet). Raises sqlite3.Error."""
    try:
        db = _connect_to_read(path, "mode=ro")
    except sqlite3.OperationalError:
        if not path.exists():
            return None
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        db = _connect_to_read(path, "mode=ro&immutable=1")  # a full disk has no room for the file readers share
    try:
        if is_made(db):
            return db
    except BaseException:
        db.close()
        raise
    db.close()
    return None


@contextmanager
def reader(path: Path) -> Iterator[sqlite3.Connection | None]:
    """`open_reader` that closes behind itself. Raises DamagedPartition, other sqlite3.Error."""
    with damage_named(path):
        db = open_reader(path)
        if db is None:
            yield None
            return
        with closing(db):
            yield db


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Where a file turns out to be broken, say which."""
    try:
        yield
    except sqlite3.Error as error:
        if is_damage(error):
            raise DamagedPartition(path, error) from error
        raise


def remove(path: Path) -> None:
    """Delete a partition that no writer has open. Who reads it reads on to the end."""
    for base in (path, path.with_suffix(INDEX_SUFFIX)):
        for side in SIDE_FILES:
            base.with_name(base.name + side).unlink(missing_ok=True)


def put_aside(path: Path) -> Path:
    """Rename a damaged partition so that it is neither read nor written any more; its index goes. The new path."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for side in SIDE_FILES:
        if (old := path.with_name(path.name + side)).exists():
            old.rename(aside.with_name(aside.name + side))
    remove(path)
    return aside


def size_on_disk(folder: Path) -> int:
    """Bytes of all files of the store, those put aside included."""
    total = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            total += path.stat().st_size if _NAME.match(path.name) or INDEX_SUFFIX in path.name else 0
        except FileNotFoundError:
            continue
    return total


def _connect_to_read(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{mode}"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA schema_version")  # opens the file, which connecting does not
    except BaseException:
        db.close()
        raise
    return db
