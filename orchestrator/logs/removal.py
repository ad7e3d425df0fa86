"""Removing lines: of old days, of a service that is gone, of what is over the limits; a small bite a transaction."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from orchestrator.logs.partition import DAY_NS, SUFFIX, partitions, reader, remove, start_of

_BITE = 100  # chunks
_DAMAGED = re.compile(r"(\d{8})\.sqlite\.damaged-.*")
_STRAY = re.compile(r"(\d{8})\.(sqlite|index)(-wal|-shm|-journal)?")


class Archive(Protocol):
    """Of the archive, what removing needs."""

    folder: Path

    def change(self, path: Path) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction in a partition."""


def remove_days(archive: Archive, before_ns: int) -> int:
    """Delete the partitions whose day, or whose last line, is before. The newest stays, for it has the positions.

    Of the newest the chunks go that end before. The number of lines removed.
    """
    removed = 0
    paths = partitions(archive.folder)
    for path in paths:
        ended = start_of(path.stem) + DAY_NS <= before_ns
        lines, latest = _extent(path)
        if path == paths[-1]:
            removed += remove_chunks(archive, path, "max_ns < ?", (2**63 - 1 if ended else before_ns,))
        elif ended or latest < before_ns:
            remove(path)
            removed += lines
    _sweep(archive.folder, before_ns)
    return removed


def remove_service(archive: Archive, service_uuid: str) -> None:
    """Remove all lines of a service."""
    condition = "service_id = (SELECT id FROM services WHERE service = ?)"
    for path in partitions(archive.folder):
        remove_chunks(archive, path, condition, (service_uuid,))


def remove_chunks(archive: Archive, path: Path, condition: str, values: Sequence[int | str]) -> int:
    """Remove the chunks of a partition that meet the condition. The number of lines removed."""
    with reader(path) as db:
        found = [] if db is None else db.execute(f"SELECT id FROM chunks WHERE {condition}", values).fetchall()
    numbers = [number for (number,) in found]
    return sum(_remove(archive, path, numbers[at : at + _BITE]) for at in range(0, len(numbers), _BITE))


def remove_numbers(archive: Archive, path: Path, numbers: Sequence[int]) -> None:
    """Remove these chunks of a partition."""
    for at in range(0, len(numbers), _BITE):
        _remove(archive, path, numbers[at : at + _BITE])


def _remove(archive: Archive, path: Path, numbers: Sequence[int]) -> int:
    chosen = f"id IN ({', '.join(map(str, numbers))})"
    query = f"SELECT service_id, sum(lines), sum(text_bytes), sum(bytes) FROM chunks WHERE {chosen} GROUP BY service_id"
    less = "UPDATE services SET lines = lines - ?, text_bytes = text_bytes - ?, bytes = bytes - ? WHERE id = ?"
    with archive.change(path) as db:
        sums = db.execute(query).fetchall()
        db.executemany(less, [(lines, text, size, service) for service, lines, text, size in sums])
        db.execute(f"DELETE FROM chunks WHERE {chosen}")
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'changes'")
    return sum(each[1] for each in sums)


def _extent(path: Path) -> tuple[int, int]:
    """Lines of a partition and the time of the last."""
    with reader(path) as db:
        if db is None:
            return 0, -(2**63)
        query = "SELECT total(lines), max(max_ns) FROM services WHERE lines > 0"
        lines, latest = db.execute(query).fetchone()
    return int(lines), -(2**63) if latest is None else latest


def _sweep(folder: Path, before_ns: int) -> None:
    """Delete what was put aside and is old, and what an interrupted deletion left."""
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        damaged, stray = _DAMAGED.fullmatch(path.name), _STRAY.fullmatch(path.name)
        if (damaged and start_of(damaged[1]) + DAY_NS <= before_ns) or (
            stray and path.suffix != SUFFIX and not (folder / f"{stray[1]}{SUFFIX}").exists()
        ):
            path.unlink(missing_ok=True)
