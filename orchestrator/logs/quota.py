"""Limits of size: of one service's lines and of all; what goes is the oldest, and the service's log says so."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from orchestrator.logs.errors import LogStoreError
from orchestrator.logs.lines import SYSTEM, Batch
from orchestrator.logs.partition import INDEX_SUFFIX, partitions, reader, remove
from orchestrator.logs.removal import Archive, remove_numbers

_KEEP = 0.9  # of a limit; making room for one line at a time would tell of each
_MB = 1024 * 1024
_OLDEST = "SELECT id, bytes, lines, min_ns, max_ns FROM chunks WHERE service_id = ? ORDER BY min_ns, id"
_logger = logging.getLogger(__name__)


class Limited(Archive, Protocol):
    """Of the archive, what keeping limits needs."""

    max_bytes: int | None
    service_max_bytes: int | None

    def append(self, batches: Sequence[Batch]) -> None:
        """Store lines."""

    def clock(self) -> int:
        """Epoch ns."""


@dataclass
class Going:
    """Chunks of one service that are to go."""

    numbers: dict[Path, list[int]]
    bytes: int = 0
    lines: int = 0
    min_ns: int = 2**63 - 1
    max_ns: int = -(2**63)


def keep_limits(archive: Limited) -> None:
    """Remove what is over the limits. Raises sqlite3.Error, LogStoreError."""
    if archive.service_max_bytes is not None:
        for service, size in _sizes(partitions(archive.folder)).items():
            if size > archive.service_max_bytes:
                less = size - int(archive.service_max_bytes * _KEEP)
                reason = f"the service's limit of {_mb(archive.service_max_bytes)}"
                _remove(archive, service, less, reason, partitions(archive.folder))
    if archive.max_bytes is not None:
        _keep_total(archive, archive.max_bytes)


def _keep_total(archive: Limited, limit: int) -> None:
    """The oldest day goes as a file; of the last one the oldest of the biggest service, and so on."""
    reason = f"the limit of all logs of {_mb(limit)}"
    while len(paths := partitions(archive.folder)) > 1 and sum(map(_used, paths)) > limit:
        going = _all_of(paths[0])
        remove(paths[0])
        for service, part in going.items():
            _tell(archive, service, part, reason)
    over = _used(paths[0]) - limit if paths else 0
    over += limit - int(limit * _KEEP) if over > 0 else 0
    while over > 0:
        sizes = _sizes(paths)
        biggest = max(sizes, key=lambda service: sizes[service], default="")
        if not sizes.get(biggest):
            return
        others = sorted(sizes.values())[-2:-1]
        share = max(sizes[biggest] - (others[0] if others else 0), sizes[biggest] // 10)
        over -= _remove(archive, biggest, min(over, share), reason, paths)


def _remove(archive: Limited, service: str, less: int, reason: str, paths: Sequence[Path]) -> int:
    """Remove the service's oldest lines, of `less` bytes or a little more; it is said before, so that it always is."""
    going = Going({})
    for path in paths:
        with reader(path) as db:
            if db is not None and going.bytes < less:
                _choose(db, path, service, less, going)
    if not going.lines:
        return less
    _tell(archive, service, going, reason)
    for path, numbers in going.numbers.items():
        remove_numbers(archive, path, numbers)
    return going.bytes


def _choose(db: sqlite3.Connection, path: Path, service: str, less: int, going: Going) -> None:
    found = db.execute("SELECT id FROM services WHERE service = ?", (service,)).fetchone()
    for number, size, lines, min_ns, max_ns in db.execute(_OLDEST, found) if found else ():
        going.numbers.setdefault(path, []).append(number)
        going.bytes += size
        going.lines += lines
        going.min_ns, going.max_ns = min(going.min_ns, min_ns), max(going.max_ns, max_ns)
        if going.bytes >= less:
            return


def _tell(archive: Limited, service: str, going: Going, reason: str) -> None:
    text = f"{going.lines} lines of {_utc(going.min_ns)} to {_utc(going.max_ns)} were removed: {reason}"
    _logger.warning("log of %s: %s", service, text)
    try:
        line = (archive.clock(), SYSTEM, text.encode())
        archive.append([Batch(service, "", f"skylark/{service}", [line], "")])
    except LogStoreError as error:
        _logger.error("log of %s: could not say so there: %s", service, error)


def _sizes(paths: Sequence[Path]) -> dict[str, int]:
    """Bytes of each service's lines as stored."""
    sizes: dict[str, int] = {}
    for path in paths:
        with reader(path) as db:
            for service, size in db.execute("SELECT service, bytes FROM services") if db is not None else ():
                sizes[service] = sizes.get(service, 0) + size
    return sizes


def _all_of(path: Path) -> dict[str, Going]:
    query = "SELECT service, bytes, lines, min_ns, max_ns FROM services WHERE lines > 0"
    with reader(path) as db:
        return {} if db is None else {row[0]: Going({}, *row[1:]) for row in db.execute(query)}


def _used(path: Path) -> int:
    """Bytes of a partition that hold something, with its index; removing chunks leaves room that the next ones take."""
    with reader(path) as db:
        if db is None:
            return 0
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    beside = path.with_suffix(INDEX_SUFFIX)
    return int((pages - free) * size) + (beside.stat().st_size if beside.exists() else 0)


def _utc(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _mb(size: int) -> str:
    return f"{size / _MB:g} MB"
