"""Following: what was appended behind a number, in the order of storing, a bounded piece at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from orchestrator.logs.errors import fault, is_damage
from orchestrator.logs.lines import StoredLine
from orchestrator.logs.partition import meta, partitions, reader
from orchestrator.logs.reading import stored
from orchestrator.logs.unpacking import Unpack, Unpacker

MOST_LINES = 5000
MOST_BYTES = 8 * 1024 * 1024

_NEW = """
SELECT first_seq, id, lines, text_bytes FROM chunks WHERE last_seq > ? ORDER BY first_seq, id
"""
_LOAD = """
SELECT c.min_ns, c.head, c.text, s.instance, v.service FROM chunks c
JOIN sources s ON s.id = c.source_id JOIN services v ON v.id = c.service_id WHERE c.id = ?
"""

Row = tuple[int, int, int, int]  # first_seq, id, lines, text bytes


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
    chosen, upper = _chosen(db, after)
    lines: list[StoredLine] = []
    for _, number, _, _ in chosen:
        min_ns, head, text, instance, service = db.execute(_LOAD, (number,)).fetchone()
        chunk = unpack(number, min_ns, head, text)
        if chunk is None:
            continue
        lines += stored(service, instance, chunk, [i for i, seq in enumerate(chunk.seqs) if after < seq <= upper])
    lines.sort(key=lambda line: line.number)
    return (lines[-1].number if lines else after), lines


def _chosen(db: sqlite3.Connection, after: int) -> tuple[list[Row], int]:
    """Chunks whose lines are the next ones, and the last number up to which they hold all there are.

    Example: chunks of the lines 1-4, 5-6 and, merged, 3-9: asked for what is behind 4, and one chunk being enough,
    the answer is the third and the second of them, for the third alone would leave 5 and 6 behind.
    """
    chosen: list[Row] = []
    lines = size = 0
    for row in db.execute(_NEW, (after,)):
        must = not chosen or row[0] <= max(after, chosen[0][0]) + 1
        if not must and (lines >= MOST_LINES or size + row[3] > MOST_BYTES):
            return chosen, row[0] - 1
        chosen.append(row)
        lines += row[2]
        size += row[3]
    return chosen, 2**63 - 1
