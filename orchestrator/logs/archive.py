"""The log archive: every line of our containers, in partitions by day; written by one process, read by any number."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from orchestrator.logs.appending import Current
from orchestrator.logs.chunks import HOUR_NS
from orchestrator.logs.compaction import compact
from orchestrator.logs.errors import fault, faults, is_damage
from orchestrator.logs.following import appended, latest
from orchestrator.logs.lines import Batch, StoredLine, Wanted
from orchestrator.logs.newest import newest
from orchestrator.logs.partition import (
    SUFFIX,
    DamagedPartition,
    damage_named,
    day_of,
    meta,
    open_writer,
    partitions,
    put_aside,
    reader,
    start_of,
)
from orchestrator.logs.quota import keep_limits
from orchestrator.logs.reading import key_of, read
from orchestrator.logs.removal import remove_days, remove_service
from orchestrator.logs.summary import Statistics, days, services, statistics
from orchestrator.logs.text_index import Indexer
from orchestrator.logs.unpacking import Unpacker

_MOST = 2**63 - 1  # SQLite knows no more
_INDEX_SHARE = 5  # of the limit of all lines, what the text index of one day may take
T = TypeVar("T")
_logger = logging.getLogger(__name__)


class LogArchive:
    """Implements LogWriter and LogReader. Safe for several threads; reading opens what it needs and makes no file.

    `folder`: of the partitions alone or with other files. `max_bytes`: of all lines as stored, `service_max_bytes`: of
    one service's (None: no limit); `Upkeep` keeps them. `clock`: epoch ns, decides the partition to write to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int | None,
        service_max_bytes: int | None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.service_max_bytes = service_max_bytes
        self.clock = clock
        self._lock = threading.Lock()  # of the current partition
        self._maintaining = threading.Lock()
        self._unpacker = Unpacker()
        self._tidied: dict[Path, tuple[int, int, int]] = {}
        self._current: Current | None = None

    def append(self, batches: Sequence[Batch]) -> None:
        """Store lines and positions in one transaction. Raises LogStoreFull, LogStoreError: then nothing is stored.

        Within a container time does not go back: a line older than its predecessor gets its predecessor's time, the
        given one is not kept. Where it is older by more than ten minutes the clock has been set: it keeps its time.
        """
        if batches:
            with self.write() as current:
                current.append(batches)

    def position(self, container_id: str) -> str | None:
        """The position stored with the container's last batch; None: nothing of it is. For the writing process."""
        with self._lock, self._held(make=False) as current:
            return None if current is None else current.position(container_id)

    def forget_container(self, container_id: str) -> None:
        """The container is removed: its position goes, its lines stay."""
        self._forget("container", container_id)

    def forget_positions(self, service_uuid: str) -> None:
        """All of a service's positions go."""
        self._forget("service", service_uuid)

    def read(self, wanted: Wanted) -> Iterator[StoredLine]:
        """Ascending by (time, arrival) over all instances, both ends included; see `Wanted`.

        Raises ValueError for a cursor that is none, at once; LogStoreError while reading. A reader may take its time:
        it holds no transaction, and merging and new partitions change nothing of what it gets. A damaged partition or
        chunk is left out, and the log says so.
        """
        if wanted.after:
            key_of(wanted.after)
        wanted = replace(wanted, start_ns=max(wanted.start_ns, 0), end_ns=min(wanted.end_ns, _MOST))
        if wanted.newest and wanted.limit is not None:
            return iter(newest(self.folder, wanted, wanted.limit, self._unpacker) if wanted.limit > 0 else ())
        return read(self.folder, wanted, self._unpacker)

    def latest(self) -> int:
        """The number of the line stored last, 0: none ever was. Raises LogStoreError."""
        return latest(self.folder)

    def appended(self, after: int) -> tuple[int, Sequence[StoredLine]]:
        """Lines of all services behind number `after` in the order of storing, and the number to go on from.

        At most 5,000 lines and 8 MB of messages, or one line that is longer. Raises LogStoreError.
        """
        return appended(self.folder, after, self._unpacker)

    def days(self, service_uuid: str) -> Sequence[str]:
        """Days (UTC, YYYYMMDD) on which the service has lines, oldest first."""
        return days(self.folder, service_uuid)

    def services(self) -> tuple[str, ...]:
        """Uuids of the services that have lines here."""
        return services(self.folder)

    def statistics(self) -> Statistics:
        """What is stored, in numbers."""
        return statistics(self.folder)

    def size_bytes(self) -> int:
        """What the store's files take on the disk."""
        return self.statistics().disk_bytes

    def purge(self, before_ns: int) -> int:
        """Remove the days before: their files are deleted. The number of lines removed. Raises LogStoreError.

        A day's file goes when its day, or all its lines, are before; so lines stay up to a day longer.
        """
        return self._maintained(lambda: remove_days(self, before_ns))

    def forget_service(self, service_uuid: str) -> None:
        """Drop all lines and positions of a service. Raises LogStoreError."""
        if not partitions(self.folder):
            return
        self.forget_positions(service_uuid)
        self._maintained(lambda: remove_service(self, service_uuid))

    def maintain(self, seconds: float = 1.0) -> None:
        """Merge small chunks, keep the limits, index texts for about that long. To be called every few seconds.

        Appending goes on beside it. Raises LogStoreError; what was not done is done by the next call.
        """
        stop = time.monotonic() + seconds
        self._maintained(lambda: self._maintain(lambda: time.monotonic() > stop))

    def close(self) -> None:
        """Give the files back; a later append opens them again."""
        with self._lock:
            self._drop()

    @contextmanager
    def write(self) -> Iterator[Current]:
        """A transaction in the current partition, made if need be. A damaged one is put aside first."""
        with self._lock, self._held(make=True) as current:
            assert current is not None
            current.db.execute("BEGIN IMMEDIATE")
            yield current
            current.db.execute("COMMIT")

    @contextmanager
    def change(self, path: Path) -> Iterator[sqlite3.Connection]:
        """A transaction in any partition; only in the current one appending has to wait for it."""
        with self._lock:
            if self._current is not None and self._current.path == path:
                with self._held(make=False) as current:
                    assert current is not None
                    current.db.execute("BEGIN IMMEDIATE")
                    yield current.db
                    current.db.execute("COMMIT")
                return
        with damage_named(path), closing(open_writer(path, max_bytes=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def _maintained(self, action: Callable[[], T]) -> T:
        """One at a time; a damaged partition is put aside, and the rest is done without it."""
        with self._maintaining, faults():
            while True:
                try:
                    return action()
                except DamagedPartition as error:
                    with self._lock:
                        self._put_aside(error.path, error)

    def _maintain(self, until: Callable[[], bool]) -> None:
        try:
            for path in partitions(self.folder):
                self._tidy(path, until)
        finally:
            keep_limits(self)  # whatever ails the rest, or nothing could be stored some day

    def _tidy(self, path: Path, until: Callable[[], bool]) -> None:
        """Merge and index a partition, unless nothing has changed since it was found in order."""
        with reader(path) as db:
            if db is None:
                return
            now = self.clock()
            state = (meta(db, "next_seq"), meta(db, "changes"), now // HOUR_NS)
            if self._tidied.get(path) == state:
                return
            unpack = partial(self._unpacker.chunk, path)
            merged = compact(db, lambda: self.change(path), unpack, now)
            share = None if self.max_bytes is None else self.max_bytes // _INDEX_SHARE
            done = Indexer(path, unpack, share).add(db, now // HOUR_NS * HOUR_NS, until)
            if done and not merged:
                self._tidied[path] = state

    def _forget(self, column: str, value: str) -> None:
        if not partitions(self.folder):
            return
        with self.write() as current:
            current.forget(column, value)

    @contextmanager
    def _held(self, *, make: bool) -> Iterator[Current | None]:
        """The current partition; any fault rolls back, and what is damaged is put aside for the next try."""
        current = None
        try:
            current = self._open(make=make)
            yield current
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and is_damage(error) and current is not None:
                self._put_aside(current.path, error)
            else:
                self._roll_back()
            raise fault(error) from error
        except BaseException:
            self._roll_back()
            raise

    def _open(self, *, make: bool) -> Current | None:
        today = day_of(self.clock())
        if self._current is None:
            self._current = self._newest()
        if self._current is not None and (self._current.path.stem >= today or not make):
            return self._current
        if not make:
            return None
        # numbers follow the clock (µs), so that they grow even where a lost partition took the last one with it
        path = self.folder / f"{today}{SUFFIX}"
        made = Current.make(path, self._current, first_seq=self.clock() // 1000, max_bytes=self.max_bytes)
        self._drop()
        self._current = made
        return made

    def _newest(self) -> Current | None:
        for path in reversed(partitions(self.folder)):
            try:
                current = Current.open(path, max_bytes=self.max_bytes)
                if current is not None:
                    return current
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._put_aside(path, error)
        return None

    def _roll_back(self) -> None:
        """Undo what was not committed. The connection stays if it can: on a full disk it could not be opened again."""
        if self._current is None:
            return
        self._current.refresh()
        try:
            if self._current.db.in_transaction:
                self._current.db.execute("ROLLBACK")
        except sqlite3.Error:
            self._drop()

    def _drop(self) -> None:
        if self._current is not None:
            with suppress(sqlite3.Error):
                self._current.close()
            self._current = None

    def _put_aside(self, path: Path, error: sqlite3.Error) -> None:
        if self._current is not None and self._current.path == path:
            self._drop()
        aside = put_aside(path)
        _logger.error("log store: %s is damaged and put aside as %s: %s", path.name, aside.name, error)


def day_range(day: str) -> tuple[int, int]:
    """First and last ns of a day (UTC, YYYYMMDD): the range to read for the whole day. Raises ValueError."""
    start = start_of(day)
    return start, start + 86_400_000_000_000 - 1
