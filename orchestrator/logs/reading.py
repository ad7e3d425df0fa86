"""Reading a range: the chunks of all partitions merged by time, a few unpacked at a time, no transaction held open."""

from __future__ import annotations

import heapq
import logging
import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from orchestrator.logs.chunks import HOUR_NS, Chunk, pick
from orchestrator.logs.errors import fault, is_damage
from orchestrator.logs.lines import StoredLine, Wanted
from orchestrator.logs.partition import open_reader, partitions
from orchestrator.logs.search import Needle
from orchestrator.logs.text_index import TextIndex
from orchestrator.logs.unpacking import Unpacker

_MOST = 2**63 - 1
_PAGE = 256  # chunks listed at a time
_LIST = """
SELECT c.min_ns, c.id, c.max_ns, s.instance, (SELECT value FROM meta WHERE name = 'changes')
FROM chunks c JOIN sources s ON s.id = c.source_id
WHERE c.service_id = :service AND c.min_ns >= :floor AND c.min_ns <= :end AND c.max_ns >= :start
AND substr(s.instance, 1, :length) = :instance
"""
_UPWARDS = _LIST + "AND (c.min_ns, c.id) > (:min_ns, :id) ORDER BY c.min_ns, c.id LIMIT :page"
_DOWNWARDS = _LIST + "AND (c.min_ns, c.id) < (:min_ns, :id) ORDER BY c.min_ns DESC, c.id DESC LIMIT :page"
_LOAD = "SELECT head, text FROM chunks WHERE id = ?"
_logger = logging.getLogger(__name__)

Key = tuple[int, int]  # of a line: its time, its arrival number


class Moved(Exception):
    """Chunks were merged or removed meanwhile: what is listed is stale."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A chunk that may hold wanted lines."""

    min_ns: int
    max_ns: int
    instance: str
    shelf: Shelf
    number: int


class Shelf:
    """One partition opened for one question."""

    def __init__(
        self, path: Path, db: sqlite3.Connection, service: int, index: TextIndex | None, unpacker: Unpacker
    ) -> None:
        self.path = path
        self._unpacker = unpacker
        self._db = db
        self._service = service
        self._index = index
        self._changes: int | None = None

    def listed(self, wanted: Wanted, start_ns: int, match: str | None, *, backwards: bool = False) -> Iterator[Listed]:
        """The chunks that overlap [start_ns, wanted.end_ns], by the time of their first line. Raises Moved."""
        instance = wanted.instance or ""
        floor = start_ns // HOUR_NS * HOUR_NS  # no chunk reaches over the end of an hour
        values = {"service": self._service, "floor": floor, "start": start_ns, "end": wanted.end_ns, "page": _PAGE}
        values |= {"min_ns": wanted.end_ns, "id": _MOST} if backwards else {"min_ns": floor, "id": -1}
        while True:
            question = {**values, "instance": instance, "length": len(instance)}
            rows = self._db.execute(_DOWNWARDS if backwards else _UPWARDS, question).fetchall()
            for row in rows[:1]:  # what was merged may now begin before the place where this page goes on
                if self._changes not in (None, row[4]):
                    raise Moved
                self._changes = row[4]
            possible = self._possible([row[1] for row in rows], match)
            for min_ns, number, max_ns, name, _ in rows:
                if possible is None or number in possible:
                    yield Listed(min_ns, max_ns, name, self, number)
            if len(rows) < _PAGE:
                return
            values |= {"min_ns": rows[-1][0], "id": rows[-1][1]}

    def load(self, listed: Listed) -> Chunk | None:
        """None: it is damaged. Raises Moved: it is gone, for chunk ids are never used twice."""
        found = self._db.execute(_LOAD, (listed.number,)).fetchone()
        if found is None:
            raise Moved
        return self._unpacker.chunk(self.path, listed.number, listed.min_ns, *found)

    def _possible(self, numbers: Sequence[int], match: str | None) -> set[int] | None:
        if match is None or self._index is None or not numbers:
            return None
        return self._index.possible(numbers, match)


class Opened:
    """A chunk being read: the lines of it that are wanted and not given yet."""

    def __init__(self, listed: Listed, chunk: Chunk, indexes: Sequence[int], service: str) -> None:
        self._listed = listed
        self._chunk = chunk
        self._indexes = indexes
        self._at = 0
        self._service = service

    @property
    def key(self) -> Key:
        """Of the next line."""
        index = self._indexes[self._at]
        return self._chunk.times[index], self._chunk.seqs[index]

    def take_last(self, most: int) -> list[StoredLine]:
        """The last lines, in order; at most `most`."""
        self._at = max(self._at, len(self._indexes) - most)
        return self.take(None, most)

    def take(self, before: Key | None, most: int | None) -> list[StoredLine]:
        """The next line and those behind it with a key less than `before`; at most `most`."""
        indexes, times, seqs = self._indexes, self._chunk.times, self._chunk.seqs
        end = len(indexes) if most is None else min(len(indexes), self._at + most)
        if before is not None:
            end = bisect_left(indexes, before, self._at + 1, end, key=lambda index: (times[index], seqs[index]))
        lines = stored(self._service, self._listed.instance, self._chunk, indexes[self._at : end])
        self._at = end
        return lines

    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._indexes)


def stored(service: str, instance: str, chunk: Chunk, indexes: Sequence[int]) -> list[StoredLine]:
    """Some lines of a chunk, as they are answered."""
    new = tuple.__new__  # spares a call for each line
    columns = (pick(chunk.times, indexes), pick(chunk.seqs, indexes), pick(chunk.streams, indexes))
    return [
        new(StoredLine, (service, instance, at_ns, stream, message, f"{at_ns}-{seq}", seq))
        for at_ns, seq, stream, message in zip(*columns, chunk.messages(indexes), strict=True)
    ]


def key_of(cursor: str) -> Key:
    """The key in a cursor. Raises ValueError."""
    at_ns, _, seq = cursor.rpartition("-")
    digits = cursor.isascii() and at_ns.isdecimal() and seq.isdecimal() and len(cursor) < 40
    if not digits or max(int(at_ns), int(seq)) > _MOST:
        raise ValueError("after: not a cursor of the log; allowed: one that a line of the same question came with")
    return int(at_ns), int(seq)


def read(folder: Path, wanted: Wanted, unpacker: Unpacker) -> Iterator[StoredLine]:
    """The wanted lines, oldest first. Memory: one unpacked chunk for each container that wrote at the same time."""
    after: Key = (wanted.start_ns, -1)
    if wanted.after:
        after = max(after, key_of(wanted.after))
    left = wanted.limit
    broken: set[Path] = set()
    while left is None or left > 0:
        try:
            with ExitStack() as stack:
                shelves = open_shelves(folder, wanted, stack, broken, unpacker)
                for lines in _merged(shelves, wanted, after, left, broken):
                    yield from lines
                    after = (lines[-1].at_ns, lines[-1].number)
                    left = None if left is None else left - len(lines)
            return
        except Moved:
            continue  # from behind the last line given


def open_shelves(folder: Path, wanted: Wanted, stack: ExitStack, broken: set[Path], unpacker: Unpacker) -> list[Shelf]:
    """The partitions that may hold wanted lines; `stack` closes them."""
    found = []
    query = "SELECT id FROM services WHERE service = ? AND min_ns <= ? AND max_ns >= ?"
    for path in partitions(folder):
        if path in broken:
            continue
        try:
            db = open_reader(path)
            if db is None:
                continue
            stack.enter_context(closing(db))
            row = db.execute(query, (wanted.service_uuid, wanted.end_ns, wanted.start_ns)).fetchone()
        except sqlite3.Error as error:
            leave_out(path, error, broken)
            continue
        if row is None:
            db.close()
            continue
        index = stack.enter_context(closing(TextIndex(path))) if wanted.query else None
        found.append(Shelf(path, db, row[0], index, unpacker))
    return found


def leave_out(path: Path, error: sqlite3.Error, broken: set[Path]) -> None:
    """Read on without a damaged partition; any other fault is the caller's."""
    if not is_damage(error):
        raise fault(error) from error
    broken.add(path)
    _logger.error("log store: %s is damaged, its lines are left out: %s", path.name, error)


def load_wanted(listed: Listed, wanted: Wanted, after: Key, needle: Needle | None, broken: set[Path]) -> Opened | None:
    """The chunk, opened at its first wanted line; None: it has none. Raises Moved."""
    try:
        chunk = listed.shelf.load(listed)
    except sqlite3.Error as error:
        leave_out(listed.shelf.path, error, broken)
        raise Moved from error
    if chunk is None:
        return None
    indexes = chunk.select(after, wanted.end_ns, wanted.stream, needle)
    return Opened(listed, chunk, indexes, wanted.service_uuid) if indexes else None


def _merged(
    shelves: Sequence[Shelf], wanted: Wanted, after: Key, left: int | None, broken: set[Path]
) -> Iterator[list[StoredLine]]:
    """Runs of lines with keys behind `after`. A chunk is opened only when its first line's time has come."""
    needle = Needle(wanted.query) if wanted.query else None
    match = needle.match() if needle else None
    lists = [_guarded(shelf, wanted, after[0], match, broken) for shelf in shelves]
    waiting = heapq.merge(*lists, key=lambda listed: listed.min_ns)
    upcoming = next(waiting, None)
    opened: list[tuple[Key, int, Opened]] = []  # by the key of the next line; the number is never compared: keys differ
    number = 0
    while left != 0 and (opened or upcoming is not None):
        while upcoming is not None and (not opened or upcoming.min_ns <= opened[0][0][0]):
            found = load_wanted(upcoming, wanted, after, needle, broken)
            if found is not None:
                number += 1
                heapq.heappush(opened, (found.key, number, found))
            upcoming = next(waiting, None)
        if not opened:
            return
        _, _, first = heapq.heappop(opened)
        bounds = [opened[0][0]] if opened else []
        bounds += [(upcoming.min_ns, -1)] if upcoming is not None else []
        lines = first.take(min(bounds, default=None), left)
        yield lines
        left = None if left is None else left - len(lines)
        if not first.is_done():
            number += 1
            heapq.heappush(opened, (first.key, number, first))


def _guarded(shelf: Shelf, wanted: Wanted, start_ns: int, match: str | None, broken: set[Path]) -> Iterator[Listed]:
    try:
        yield from shelf.listed(wanted, start_ns, match)
    except sqlite3.Error as error:
        leave_out(shelf.path, error, broken)
        raise Moved from error
