"""The text index within the log archive's limits: it forgets what is removed, has its share, and counts."""

from __future__ import annotations

import base64
import random
import sqlite3
from pathlib import Path

from orchestrator.logs.archive import LogArchive
from orchestrator.logs.lines import SYSTEM
from tests.support.archive import DAY_NS, Clock, batch, texts, wanted

MB = 1024 * 1024


def feed(archive: LogArchive, clock: Clock, count: int) -> None:
    """Chunks of about 190 kB packed, in capitals and digits of no sense; upkeep after each."""
    dice = random.Random(clock.now)
    for _ in range(count):
        clock.now += 10**9
        noise = (base64.b64encode(dice.randbytes(120)).decode() for _ in range(1500))
        archive.append([batch("c", *((clock.now, text) for text in noise))])
        archive.maintain(60)


def index_of(archive: LogArchive) -> Path:
    (path,) = archive.folder.glob("*.index")
    return path


def count(path: Path, table: str) -> int:
    with sqlite3.connect(path) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def sought(archive: LogArchive) -> list[str]:
    """Lines that are there, one in a while."""
    return [line.message for line in archive.read(wanted()) if line.stream != SYSTEM][::700]


def test_index_of_lines_that_were_removed_is_made_again(archive: LogArchive, clock: Clock) -> None:
    archive.service_max_bytes = MB
    feed(archive, clock, 12)
    once = index_of(archive).stat().st_size
    for _ in range(4):
        feed(archive, clock, 6)
        chunks = count(next(archive.folder.glob("*.sqlite")), "chunks")
        assert count(index_of(archive), "indexed") <= 2 * chunks + 9
        for text in sought(archive):
            assert texts(archive.read(wanted(query=text))) == [text]

    assert index_of(archive).stat().st_size < 2 * once


def test_index_that_stays_as_it_is_costs_nothing(archive: LogArchive, clock: Clock) -> None:
    archive.service_max_bytes = MB
    feed(archive, clock, 20)
    for _ in range(3):
        archive.maintain(60)
    before = index_of(archive).stat()
    archive.append([batch("d", (clock.now, "another"), service="t")])
    archive.maintain(60)

    after = index_of(archive).stat()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)


def test_index_has_its_share_of_the_limit_and_what_is_beyond_is_searched_without(
    archive: LogArchive, clock: Clock
) -> None:
    archive.max_bytes = 6 * MB
    feed(archive, clock, 40)
    path = next(archive.folder.glob("*.sqlite"))

    assert 0 < count(index_of(archive), "indexed") < count(path, "chunks")
    assert index_of(archive).stat().st_size <= 6 * MB // 4
    assert archive.statistics().bytes + index_of(archive).stat().st_size < 6 * MB
    assert archive.statistics().bytes > 4 * MB
    for text in sought(archive):
        assert texts(archive.read(wanted(query=text))) == [text]


def test_day_that_ends_at_the_limit_is_not_removed_for_its_index(archive: LogArchive, clock: Clock) -> None:
    archive.max_bytes = 6 * MB
    feed(archive, clock, 40)
    kept = len(list(archive.read(wanted())))
    clock.now += DAY_NS
    archive.append([batch("c", (clock.now, "today"))])
    archive.maintain(60)

    assert len(list(archive.read(wanted()))) == kept + 1
