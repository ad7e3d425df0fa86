"""A chunk of the log archive whose bytes were changed: it alone is missing, for readers, followers and upkeep."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.logs.archive import LogArchive
from orchestrator.logs.chunks import HOUR_NS
from tests.support.archive import NOON, Clock, batch, texts, wanted

CHUNKS, LINES = 12, 30
SPOILT = 4


@pytest.fixture(params=["head", "text"])
def archive(tmp_path: Path, clock: Clock, request: pytest.FixtureRequest) -> Iterator[LogArchive]:
    """Small chunks of one container, of which the fourth has another byte in the middle; the hour is over."""
    made = LogArchive(tmp_path / "logs", max_bytes=None, service_max_bytes=None, clock=clock)
    for chunk in range(1, CHUNKS + 1):
        own = (f"{chunk} says {number}, which can be packed" for number in range(LINES))
        made.append([batch("c", *((NOON + chunk * 1000, text) for text in own))])
    spoil(made, request.param)
    clock.now += HOUR_NS
    yield made
    made.close()


def spoil(archive: LogArchive, column: str, condition: str = f"id = {SPOILT}") -> None:
    (path,) = archive.folder.glob("*.sqlite")
    with sqlite3.connect(path) as db:
        for number, packed in db.execute(f"SELECT id, {column} FROM chunks WHERE {condition}").fetchall():
            spoilt = bytearray(packed)
            spoilt[len(spoilt) // 2] ^= 0xFF
            db.execute(f"UPDATE chunks SET {column} = ? WHERE id = ?", (bytes(spoilt), number))


def whole() -> list[str]:
    chunks = [chunk for chunk in range(1, CHUNKS + 1) if chunk != SPOILT]
    return [f"{chunk} says {number}, which can be packed" for chunk in chunks for number in range(LINES)]


def count(path: Path, table: str) -> int:
    with sqlite3.connect(path) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_upkeep_merges_and_indexes_the_others_and_tells_of_the_spoilt_one_once(
    archive: LogArchive, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        archive.append([batch("d", (clock.now, "so that there is something to do"), service="t")])
        archive.maintain()
    (path,) = archive.folder.glob("*.sqlite")

    assert texts(archive.read(wanted())) == whole()
    assert texts(archive.read(wanted(query="says 7,"))) == [text for text in whole() if "says 7," in text]
    assert count(path, "chunks WHERE service_id = 1") == 2
    assert count(path.with_suffix(".index"), "indexed") == 2
    assert caplog.text.count("is damaged, its lines are left out") == 1


def test_upkeep_keeps_the_limits(archive: LogArchive) -> None:
    limit = archive.statistics().bytes // 2
    archive.service_max_bytes = limit
    archive.maintain()

    assert sum("which can be packed" in text for text in texts(archive.read(wanted()))) < len(whole())
    assert archive.statistics().bytes <= limit


def test_limits_are_kept_even_where_merging_fails(archive: LogArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> int:
        raise RuntimeError("of its own making")

    monkeypatch.setattr("orchestrator.logs.archive.compact", fails)
    limit = archive.statistics().bytes // 2
    archive.service_max_bytes = limit
    with pytest.raises(RuntimeError, match="of its own making"):
        archive.maintain()

    assert archive.statistics().bytes <= limit


def test_readers_leave_it_out_whichever_way_they_go(archive: LogArchive) -> None:
    assert texts(archive.read(wanted())) == whole()
    assert texts(archive.read(wanted(newest=True, limit=10_000))) == whole()
    assert texts(archive.read(wanted(query="which"))) == whole()


def test_follower_gets_past_it(archive: LogArchive) -> None:
    after, lines = archive.appended(0)

    assert texts(lines) == whole()
    archive.append([batch("d", (NOON, "new"))])
    assert texts(archive.appended(after)[1]) == ["new"]
