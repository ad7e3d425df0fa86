"""`python -m tests.bench.log_shapes`: ways to keep log lines in SQLite, side by side, on the lines of `log_query`.

Chunks (what Skylark does), a row a line, and a row a line with a text index of the lines. Each is asked for the same
minute and the same text; the answers must agree.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

from orchestrator.logs.archive import LogArchive
from orchestrator.logs.lines import STDOUT, Batch, Wanted
from tests.bench.log_query import DAY_SECONDS, RARE, WINDOW_SECONDS, batches

_BEGIN = 1_790_000_000 // DAY_SECONDS * DAY_SECONDS
_NS = 1_000_000_000
Lines = Sequence[tuple[int, str]]


class Shape(Protocol):
    """A way to keep lines. `finish`: what is done beside the writing, in its own time."""

    def write(self, lines: Lines) -> None: ...
    def finish(self) -> None: ...
    def read(self, start_ns: int, end_ns: int, text: str) -> int: ...
    def size_bytes(self) -> int: ...


class Chunks:
    """Skylark's archive."""

    def __init__(self, folder: Path) -> None:
        self._archive = LogArchive(folder, max_bytes=None, service_max_bytes=None)

    def write(self, lines: Lines) -> None:
        stored = [(at_ns, STDOUT, message.encode()) for at_ns, message in lines]
        self._archive.append([Batch("s", "i", "c", stored, "")])

    def finish(self) -> None:
        self._archive.maintain(3600)

    def read(self, start_ns: int, end_ns: int, text: str) -> int:
        return sum(1 for _ in self._archive.read(Wanted("s", start_ns, end_ns, query=text)))

    def size_bytes(self) -> int:
        return self._archive.size_bytes()


class Rows:
    """A row a line, found by service and time; with `index` a trigram index over the messages."""

    def __init__(self, folder: Path, *, index: bool) -> None:
        folder.mkdir()
        self._folder, self._index = folder, index
        self._db = db = sqlite3.connect(folder / "lines.sqlite", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(
            "CREATE TABLE lines (id INTEGER PRIMARY KEY, service INT, source INT, at INT, stream INT, message TEXT)"
        )
        db.execute("CREATE INDEX by_time ON lines (service, at, id)")
        if index:
            how = "content='', detail=none, columnsize=0, tokenize='trigram'"
            db.execute(f"CREATE VIRTUAL TABLE texts USING fts5 (message, {how})")

    def write(self, lines: Lines) -> None:
        db = self._db
        db.execute("BEGIN")
        first = db.execute("SELECT coalesce(max(id), 0) + 1 FROM lines").fetchone()[0]
        numbered = list(enumerate(lines, first))
        db.executemany("INSERT INTO lines VALUES (?, 1, 1, ?, 1, ?)", [(n, at, text) for n, (at, text) in numbered])
        if self._index:
            db.executemany("INSERT INTO texts (rowid, message) VALUES (?, ?)", [(n, text) for n, (_, text) in numbered])
        db.execute("COMMIT")

    def finish(self) -> None:
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def read(self, start_ns: int, end_ns: int, text: str) -> int:
        query = "SELECT at, message FROM lines WHERE service = 1 AND at BETWEEN ? AND ?"
        values: list[object] = [start_ns, end_ns]
        if text:
            query, values = query + " AND instr(message, ?)", [*values, text]
        if text and self._index:
            grams = " AND ".join(f'"{text[at : at + 3]}"' for at in range(len(text) - 2))
            query, values = query + " AND id IN (SELECT rowid FROM texts WHERE texts MATCH ?)", [*values, grams]
        return len(self._db.execute(query, values).fetchall())

    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.iterdir())


@dataclass(frozen=True)
class Result:
    """Seconds, and bytes on the disk."""

    write: float
    finish: float
    size_bytes: int
    minute: float
    search: float
    found: tuple[int, int]


def main() -> int:
    """Exit status 1 when the answers differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.log_shapes", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    given = parser.parse_args()
    shapes: dict[str, Callable[[Path], Shape]] = {
        "chunks": Chunks,
        "a row a line": lambda folder: Rows(folder, index=False),
        "a row a line, indexed": lambda folder: Rows(folder, index=True),
    }
    results = {}
    print("| shape | lines/s | beside it, s | bytes a line | a minute, ms | a text, ms |\n" + "|---" * 6 + "|")
    for name, make in shapes.items():
        folder = Path(tempfile.mkdtemp(prefix="skylark-bench-shapes-"))
        try:
            results[name] = found = measure(make(folder / "store"), given.lines)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        cells = (
            name, f"{given.lines / found.write:,.0f}", f"{found.finish:.1f}", f"{found.size_bytes / given.lines:.0f}",
            f"{found.minute * 1000:.1f}", f"{found.search * 1000:.1f}",
        )  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0 if len({found.found for found in results.values()}) == 1 else 1


def measure(shape: Shape, count: int) -> Result:
    """Write `count` lines of a day, then ask for a minute in its middle and for a rare text in all of it."""
    write = 0.0
    for lines in batches(_BEGIN * _NS, count):
        write += _timed(lambda lines=lines: shape.write(lines))[0]  # type: ignore[misc]
    finish, _ = _timed(shape.finish)
    middle, whole = (_BEGIN + DAY_SECONDS // 2) * _NS, (_BEGIN * _NS, (_BEGIN + DAY_SECONDS) * _NS)
    minutes = [_timed(lambda: shape.read(middle, middle + WINDOW_SECONDS * _NS - 1, "")) for _ in range(10)]
    searches = [_timed(lambda: shape.read(*whole, RARE)) for _ in range(5)]
    size, found = shape.size_bytes(), (minutes[0][1], searches[0][1])
    return Result(write, finish, size, median(t for t, _ in minutes), median(t for t, _ in searches), found)


def _timed(do: Callable[[], int | None]) -> tuple[float, int]:
    began = time.monotonic()
    found = do()
    return time.monotonic() - began, found or 0


if __name__ == "__main__":
    sys.exit(main())
