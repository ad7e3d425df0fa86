"""The text index of a partition: which chunks hold which trigrams; in a file of its own, for it can be made again."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from orchestrator.logs.compaction import SMALL_BYTES
from orchestrator.logs.errors import is_damage
from orchestrator.logs.partition import INDEX_SUFFIX, SIDE_FILES
from orchestrator.logs.unpacking import Unpack

_SCHEMA = """
CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5 (text, content='', detail=none, columnsize=0, tokenize='trigram');
CREATE TABLE IF NOT EXISTS indexed (id INTEGER PRIMARY KEY);
"""
_SETTLED = f"""
SELECT id, text_bytes FROM chunks INDEXED BY ix_chunks_time WHERE text_bytes >= {SMALL_BYTES} OR min_ns < ?
"""
_BITE = 8  # chunks in one transaction
_logger = logging.getLogger(__name__)


class TextIndex:
    """One partition's index. Reading it never fails: what it can't tell is looked through instead."""

    def __init__(self, partition: Path) -> None:
        self._path = partition.with_suffix(INDEX_SUFFIX)
        self._db: sqlite3.Connection | None = None

    def possible(self, numbers: Sequence[int], match: str) -> set[int] | None:
        """Those of the chunks `numbers` that may hold what `match` asks for; None: any may.

        A chunk that is not indexed may. As chunk ids are never used twice, what is indexed stays true.
        """
        span = (min(numbers), max(numbers))
        try:
            db = self._reader()
            if db is None:
                return None
            done = {row[0] for row in db.execute("SELECT id FROM indexed WHERE id BETWEEN ? AND ?", span)}
            query = "SELECT rowid FROM texts WHERE texts MATCH ? AND rowid BETWEEN ? AND ?"
            matching = {row[0] for row in db.execute(query, (match, *span))}
        except sqlite3.Error as error:
            _logger.warning("log store: %s is of no use, reading without: %s", self._path.name, error)
            return None
        return {number for number in numbers if number not in done or number in matching}

    def close(self) -> None:
        """Give the file back."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _reader(self) -> sqlite3.Connection | None:
        if self._db is None and self._path.exists():
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            self._db = sqlite3.connect(uri, uri=True, timeout=1, isolation_level=None, check_same_thread=False)
        return self._db


class Indexer:
    """Writes a partition's index. What it made is lost with nothing but time: a damaged index is made again.

    So is one in which more chunks are gone than are still there; as making it again takes as many removals as it has
    chunks, each is indexed about twice at most. `most_bytes` (None: any): its share of the disk; once it is full, what
    comes is not indexed, but looked through, until half of what is indexed is gone.
    """

    def __init__(self, partition: Path, unpack: Unpack, most_bytes: int | None) -> None:
        self._path = partition.with_suffix(INDEX_SUFFIX)
        self._unpack = unpack
        self._most_bytes = most_bytes

    def add(self, chunks: sqlite3.Connection, settled_before_ns: int, until: Callable[[], bool]) -> bool:
        """Index the partition's chunks that won't be merged any more, until told to stop. Whether nothing is left."""
        try:
            settled = dict(chunks.execute(_SETTLED, (settled_before_ns,)).fetchall())
            if not settled and not self._path.exists():
                return True
            with closing(sqlite3.connect(self._path, timeout=1, isolation_level=None, check_same_thread=False)) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.executescript(_SCHEMA)
                done = {row[0] for row in db.execute("SELECT id FROM indexed")}
                gone = len(done - settled.keys())
                if gone <= max(len(done) - gone, _BITE):
                    missing = sorted(settled.keys() - done)
                    return self._fill(db, chunks, [(number, settled[number]) for number in missing], until)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            _logger.error("log store: %s is damaged and will be made again: %s", self._path.name, error)
        self._remove()
        return False

    def _fill(
        self,
        db: sqlite3.Connection,
        chunks: sqlite3.Connection,
        missing: Sequence[tuple[int, int]],
        until: Callable[[], bool],
    ) -> bool:
        """Index chunks, given as (id, text bytes)."""
        for at in range(0, len(missing), _BITE):
            if until():
                return False
            bite = missing[at : at + _BITE]
            if self._most_bytes is not None and _size(db) + sum(size for _, size in bite) > self._most_bytes:
                return True  # an index is smaller than its texts: its share is kept, or nearly
            db.execute("BEGIN")
            for number, _ in bite:
                self._index(db, chunks, number)
            db.execute("COMMIT")
        return True

    def _remove(self) -> None:
        """Readers do without; who has it open reads on in what it was, and that stays true."""
        for side in SIDE_FILES:
            self._path.with_name(self._path.name + side).unlink(missing_ok=True)

    def _index(self, db: sqlite3.Connection, chunks: sqlite3.Connection, number: int) -> None:
        row = chunks.execute("SELECT min_ns, head, text FROM chunks WHERE id = ?", (number,)).fetchone()
        if row is None:
            return  # removed meanwhile
        chunk = self._unpack(number, *row)
        if chunk is not None:  # a damaged one has no lines to be found
            text = chunk.text.decode("utf-8", "replace").replace("\0", " ")  # the tokenizer stops at a NUL
            db.execute("INSERT INTO texts (rowid, text) VALUES (?, ?)", (number, text))
        db.execute("INSERT INTO indexed VALUES (?)", (number,))


def _size(db: sqlite3.Connection) -> int:
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)
