"""Following: what was appended behind a number, in the order of storing, a bounded piece at a time."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from operator import sub
from pathlib import Path

from orchestrator.logs.errors import fault, is_damage
from orchestrator.logs.lines import PAGE_BYTES, StoredLine
from orchestrator.logs.partition import meta, partitions, reader
from orchestrator.logs.reading import stored
from orchestrator.logs.unpacking import Unpack, Unpacker

MOST_LINES = 5000

_NEW = "SELECT first_seq, id FROM chunks WHERE last_seq > ? ORDER BY first_seq, id"
_HEAD = "SELECT min_ns, head FROM chunks WHERE id = ?"
_LOAD = """
SELECT c.min_ns, c.head, c.text, s.instance, v.service FROM chunks c
JOIN sources s ON s.id = c.source_id JOIN services v ON v.id = c.service_id WHERE c.id = ?
"""

Place = tuple[int, int, int, int]  # where a line is: its number, bytes of its message, chunk, index in the chunk


def latest(folder: Path) -> int:
    """The number of the line stored last; 0 where there is nothing."""
    for path in reversed(partitions(folder)):
        try:
            with reader(path) as db:
                if db is not None:
                    return meta(db, "next_seq") - 1
        except sqlite3.Error as error:
            if not is_damage(error):
                raise fault(error) from error
    return 0


def appended(folder: Path, after: int, unpacker: Unpacker) -> tuple[int, Sequence[StoredLine]]:
    """The lines behind number `after`, oldest number first, and the number to go on from."""
    for path in _holding(folder, after):
        try:
            with reader(path) as db:
                if db is None:
                    continue
                end = meta(db, "next_seq") - 1  # read before the chunks: none up to here can be missed
                db.execute("BEGIN")  # one moment's view: merging meanwhile takes nothing from under us
                last, lines = _piece(db, after, partial(unpacker.chunk, path))
                db.execute("COMMIT")
        except sqlite3.Error as error:
            if not is_damage(error):
                raise fault(error) from error
            continue
        if lines:
            return last, lines
        after = max(after, end)
    return after, ()


def _holding(folder: Path, after: int) -> Iterator[Path]:
    """The partitions that may hold lines behind `after`, oldest first."""
    found: list[Path] = []
    for path in reversed(partitions(folder)):
        try:
            with reader(path) as db:
                if db is None:
                    continue
                if meta(db, "next_seq") - 1 <= after:
                    break
                found.insert(0, path)
                if meta(db, "first_seq") - 1 <= after:
                    break
        except sqlite3.Error as error:
            if not is_damage(error):
                raise fault(error) from error
    yield from found


def _piece(db: sqlite3.Connection, after: int, unpack: Unpack) -> tuple[int, list[StoredLine]]:
    """The next lines, and the number of the last of them; none: nothing readable is left."""
    while places := _next(db, after, unpack):
        after = places[-1][0]
        wanted: dict[int, list[int]] = {}
        for _, _, number, index in places:
            wanted.setdefault(number, []).append(index)
        lines: list[StoredLine] = []
        for number, indexes in wanted.items():  # one text is held at a time
            min_ns, head, text, instance, service = db.execute(_LOAD, (number,)).fetchone()
            chunk = unpack(number, min_ns, head, text)
            if chunk is not None:
                lines += stored(service, instance, chunk, indexes)
        if lines:
            lines.sort(key=lambda line: line.number)
            return after, lines
    return after, []


def _next(db: sqlite3.Connection, after: int, unpack: Unpack) -> list[Place]:
    """Where the next lines behind `after` are, as many as make a piece, found in the heads of chunks alone.

    Example: chunks of the lines 1-4, 5-6 and, merged, 3-9: three behind 4 are 5 (of the second or the third), 6 and 7.
    A chunk may hold any numbers between its first and its last, so all must be looked at that begin before the piece
    ends; once it is full, that is known.
    """
    places: list[Place] = []
    size, upper = 0, 2**63 - 1
    for first_seq, number in db.execute(_NEW, (after,)):
        if first_seq > upper:
            break
        min_ns, head = db.execute(_HEAD, (number,)).fetchone()
        chunk = unpack(number, min_ns, head, None)
        if chunk is None:
            continue
        lengths = map(sub, chunk.offsets[1:], chunk.offsets)
        keyed = enumerate(zip(chunk.seqs, lengths, strict=True))
        found = [(seq, length, number, index) for index, (seq, length) in keyed if after < seq <= upper]
        places += found
        size += sum(length for _, length, _, _ in found)
        if found and (len(places) >= MOST_LINES or size >= PAGE_BYTES):
            places = _cut(sorted(places))
            size, upper = sum(length for _, length, _, _ in places), places[-1][0]
    return sorted(places)


def _cut(places: list[Place]) -> list[Place]:
    """The first of them, as many as make a piece; one at least."""
    sizes = list(accumulate(length for _, length, _, _ in places))
    return places[: max(1, min(MOST_LINES, bisect_right(sizes, PAGE_BYTES)))]
