"""Compaction: what a quiet container wrote drop by drop becomes few chunks, while others append and read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Protocol

from orchestrator.logs.appending import INSERT_CHUNK, row
from orchestrator.logs.chunks import HOUR_NS, MOST_LINES, MOST_TEXT_BYTES, merge
from orchestrator.logs.unpacking import Unpack

SMALL_BYTES = 32 * 1024  # as in the index ix_chunks_small; what is not small is left alone
_TINY_BYTES = 2 * 1024
_ENOUGH = 8  # chunks of like size; so a line is rewritten twice in its life, and once more when its hour is over
_BITE_BYTES = 4 * MOST_TEXT_BYTES  # in one transaction: some milliseconds

_SMALL = f"""
SELECT source_id, min_ns, id, text_bytes, lines FROM chunks INDEXED BY ix_chunks_small
WHERE text_bytes < {SMALL_BYTES} ORDER BY source_id, id
"""
_LOAD = "SELECT service_id, source_id, min_ns, head, text, bytes FROM chunks WHERE id = ?"

_Small = tuple[int, int, int, int, int]  # source, min_ns, id, text bytes, lines


class Change(Protocol):
    """Gives a transaction in the partition."""

    def __call__(self) -> AbstractContextManager[sqlite3.Connection]: ...


def compact(db: sqlite3.Connection, change: Change, unpack: Unpack, now_ns: int) -> int:
    """Merge what is small and has enough neighbours. `db` reads the partition. The number of chunks that went.

    Readers see the same lines with the same cursors: a merged chunk keeps every line's time and number, and who had
    listed one of its parts finds it gone and lists again. Damaged chunks stay as they are.
    """
    bite: list[list[int]] = []
    gone = size = 0
    for numbers, text_bytes in groups(db.execute(_SMALL).fetchall(), now_ns):
        bite.append(numbers)
        size += text_bytes
        if size >= _BITE_BYTES:
            gone += _merge(db, change, unpack, bite)
            bite, size = [], 0
    return gone + _merge(db, change, unpack, bite)


def groups(small: Sequence[_Small], now_ns: int) -> Iterator[tuple[list[int], int]]:
    """Ids of chunks to be made one, and the size of their text. Those of an hour still written wait for enough."""
    for (_, hour), of_hour in groupby(small, key=lambda each: (each[0], each[1] // HOUR_NS)):
        chunks = list(of_hour)
        if hour < now_ns // HOUR_NS:
            yield from _fill(chunks, 2)
        else:
            yield from _fill([each for each in chunks if each[3] < _TINY_BYTES], _ENOUGH)
            yield from _fill([each for each in chunks if each[3] >= _TINY_BYTES], _ENOUGH)


def _fill(chunks: Sequence[_Small], enough: int) -> Iterator[tuple[list[int], int]]:
    if len(chunks) < enough:
        return
    numbers: list[int] = []
    size = lines = 0
    for _, _, number, text_bytes, count in chunks:
        if numbers and (size + text_bytes > MOST_TEXT_BYTES or lines + count > MOST_LINES):
            if len(numbers) > 1:
                yield numbers, size
            numbers, size, lines = [], 0, 0
        numbers.append(number)
        size += text_bytes
        lines += count
    if len(numbers) > 1:
        yield numbers, size


def _merge(db: sqlite3.Connection, change: Change, unpack: Unpack, bite: Sequence[Sequence[int]]) -> int:
    """Packing is done before the transaction, for it takes the time."""
    made = []
    for numbers in bite:
        rows = [db.execute(_LOAD, (number,)).fetchone() for number in numbers]
        if None in rows:
            continue  # removed meanwhile
        service, source = rows[0][:2]
        chunks = [unpack(number, *each[2:5]) for number, each in zip(numbers, rows, strict=True)]
        whole = [at for at, chunk in enumerate(chunks) if chunk is not None]
        if len(whole) < 2:
            continue
        merged = merge([chunk for chunk in chunks if chunk is not None])
        grown = len(merged.head) + len(merged.text) - sum(rows[at][5] for at in whole)
        made.append(([numbers[at] for at in whole], service, grown, row(service, source, merged)))
    if not made:
        return 0
    with change() as writer:
        for numbers, service, grown, values in made:
            writer.executemany("DELETE FROM chunks WHERE id = ?", [(number,) for number in numbers])
            writer.execute(INSERT_CHUNK, values)
            writer.execute("UPDATE services SET bytes = bytes + ? WHERE id = ?", (grown, service))
        writer.execute("UPDATE meta SET value = value + 1 WHERE name = 'changes'")
    return sum(len(each[0]) - 1 for each in made)
