"""Reading the last lines of a range: its chunks from the newest back, until enough lines are held."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from orchestrator.logs.chunks import HOUR_NS
from orchestrator.logs.lines import PAGE_BYTES, StoredLine, Wanted
from orchestrator.logs.reading import Key, Listed, Moved, Shelf, key_of, leave_out, load_wanted, open_shelves
from orchestrator.logs.search import Needle
from orchestrator.logs.unpacking import Unpacker


def newest(folder: Path, wanted: Wanted, limit: int, unpacker: Unpacker) -> list[StoredLine]:
    """The last `limit` of the wanted lines or fewer (see `Wanted`), oldest first. Memory: those, and a chunk."""
    broken: set[Path] = set()
    while True:
        try:
            with ExitStack() as stack:
                shelves = open_shelves(folder, wanted, stack, broken, unpacker)
                return _last(shelves, wanted, limit, broken)
        except Moved:
            continue


def _last(shelves: list[Shelf], wanted: Wanted, limit: int, broken: set[Path]) -> list[StoredLine]:
    after: Key = max((wanted.start_ns, -1), key_of(wanted.after) if wanted.after else (-1, -1))
    needle = Needle(wanted.query) if wanted.query else None
    match = needle.match() if needle else None
    held: list[tuple[Key, StoredLine]] = []  # a heap: the oldest first
    size, full = 0, False  # of their messages; whether what is older than all of them is not asked for any more
    lists = [_backwards(shelf, wanted, after[0], match, broken) for shelf in shelves]
    for listed in heapq.merge(*lists, key=lambda each: -each.min_ns):
        if full and (listed.min_ns // HOUR_NS + 1) * HOUR_NS <= held[0][0][0]:
            break  # neither this nor any that begins before it reaches into what is held
        if full and listed.max_ns < held[0][0][0]:
            continue
        opened = load_wanted(listed, wanted, max(after, held[0][0]) if full else after, needle, broken)
        for line in opened.take_last(limit) if opened else ():
            heapq.heappush(held, ((line.at_ns, line.number), line))
            size += len(line.message)
            while len(held) > limit or (size > PAGE_BYTES and len(held) > 1):
                size -= len(heapq.heappop(held)[1].message)
                full = True
        full = full or len(held) == limit
    return [line for _, line in sorted(held, key=lambda item: item[0])]


def _backwards(shelf: Shelf, wanted: Wanted, start_ns: int, match: str | None, broken: set[Path]) -> Iterator[Listed]:
    try:
        yield from shelf.listed(wanted, start_ns, match, backwards=True)
    except sqlite3.Error as error:
        leave_out(shelf.path, error, broken)
        raise Moved from error
