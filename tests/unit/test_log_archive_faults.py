"""The log archive under faults: a writer killed at any moment, a full disk, damaged files, unusable folders."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.logs.archive import LogArchive
from orchestrator.logs.errors import LogStoreError, LogStoreFull
from orchestrator.logs.lines import STDOUT, Batch
from tests.support.archive import DAY_NS, NOON, Clock, batch, texts, wanted
from tests.support.poll import eventually

ROOT = Path(__file__).resolve().parent.parent.parent
WRITER = """
import sys, threading, time
from pathlib import Path
from orchestrator.logs.archive import LogArchive
from orchestrator.logs.lines import Batch

def clock():  # a day a second, so that kills hit the change of days too
    return 1_772_366_400_000_000_000 + int((time.time() - float(sys.argv[2])) * 86_400_000_000_000)

archive = LogArchive(Path(sys.argv[1]), max_bytes=None, service_max_bytes=None, clock=clock)
next_line = int(archive.position("c") or 0)

def upkeep():
    while True:
        archive.maintain(0.05)

threading.Thread(target=upkeep, daemon=True).start()
print("begins", next_line, flush=True)
while True:
    lines = [(number, 1, b"%d" % number) for number in range(next_line, next_line + 7)]
    next_line += 7
    archive.append([Batch("s", "i", "c", lines, str(next_line))])
    print(next_line, flush=True)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_writer_killed_again_and_again_stores_every_line_once_with_its_position(tmp_path: Path) -> None:
    dice = random.Random(5)
    began, acknowledged = time.time(), 0
    for _ in range(12):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "logs"), str(began)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(dice.randint(1, 300))]
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.readlines()
        process.wait(timeout=30)
        assert int(seen[0].removeprefix("begins")) >= acknowledged
        acknowledged = max(acknowledged, *(int(text) for text in seen[1:] if text.endswith("\n")))

        reader = LogArchive(tmp_path / "logs", max_bytes=None, service_max_bytes=None)
        stored = [int(text) for text in texts(reader.read(wanted()))]
        assert stored == list(range(len(stored)))
        assert len(stored) >= acknowledged
        assert reader.position("c") == str(len(stored))
        reader.close()


def test_other_processes_read_a_growing_prefix_while_one_writes(tmp_path: Path) -> None:
    began = time.time()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "logs"), str(began)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    threading.Thread(target=process.stdout.read, daemon=True).start()
    reader = LogArchive(tmp_path / "logs", max_bytes=None, service_max_bytes=None)
    followed: list[str] = []
    after = reader.latest()
    try:
        while len(followed) < 3000:
            after, lines = reader.appended(after)
            followed += texts(lines)
            stored = texts(reader.read(wanted()))
            assert stored == [str(number) for number in range(len(stored))]
    finally:
        process.kill()
        process.wait(timeout=30)

    assert followed == [str(number) for number in range(int(followed[0]), int(followed[0]) + len(followed))]


def test_full_disk_refuses_batches_whole_and_takes_them_when_there_is_room(small_disk: Path, clock: Clock) -> None:
    archive = LogArchive(small_disk / "logs", max_bytes=None, service_max_bytes=None, clock=clock)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1024 * 1024)
    stored = 0
    with pytest.raises(LogStoreFull):
        for stored in range(500):
            noise = random.Random(stored).randbytes(50_000)
            archive.append([Batch("s", "i", "c", [(stored, STDOUT, noise), (stored, STDOUT, b"small")], str(stored))])
    refused = Batch("s", "i", "c", [(stored, STDOUT, noise), (stored, STDOUT, b"small")], str(stored))
    with pytest.raises(LogStoreFull):
        archive.append([refused])
    with pytest.raises(LogStoreFull):
        archive.append([refused])

    assert archive.position("c") == str(stored - 1)
    other = LogArchive(small_disk / "logs", max_bytes=None, service_max_bytes=None)
    assert texts(other.read(wanted()))[1::2] == ["small"] * stored
    ballast.unlink()
    archive.append([refused])
    assert archive.position("c") == str(stored)
    assert len(list(other.read(wanted()))) == 2 * (stored + 1)
    archive.close()


def test_lines_of_older_days_are_readable_on_a_full_disk(small_disk: Path, clock: Clock) -> None:
    archive = LogArchive(small_disk / "logs", max_bytes=None, service_max_bytes=None, clock=clock)
    archive.append([batch("c", (clock.now, "yesterday"), position="p")])
    clock.now += DAY_NS
    archive.append([batch("c", (clock.now, "today"), position="q")])
    archive.close()
    with pytest.raises(OSError), (small_disk / "ballast").open("wb") as file:
        while True:
            os.write(file.fileno(), b"x" * 4096)
    other = LogArchive(small_disk / "logs", max_bytes=None, service_max_bytes=None)

    assert texts(other.read(wanted())) == ["yesterday", "today"]
    assert other.days("s") == ("20260301", "20260302")
    clock.now += DAY_NS
    with pytest.raises(LogStoreError):
        archive.append([batch("c", (clock.now, "no room"))])
    (small_disk / "ballast").unlink()
    archive.append([batch("c", (clock.now, "room"), position="r")])
    assert texts(other.read(wanted())) == ["yesterday", "today", "room"]
    assert archive.position("c") == "r"
    archive.close()


def test_store_at_its_limit_without_upkeep_refuses_more(tmp_path: Path, clock: Clock) -> None:
    archive = LogArchive(tmp_path, max_bytes=1024 * 1024, service_max_bytes=None, clock=clock)
    with pytest.raises(LogStoreFull):
        for number in range(1000):
            archive.append([Batch("s", "i", "c", [(number, STDOUT, os.urandom(50_000))], str(number))])
    archive.maintain()

    archive.append([batch("c", (NOON, "fits again"))])
    assert texts(archive.read(wanted()))[-1] == "fits again"
    assert archive.statistics().bytes < 1024 * 1024
    archive.close()


def test_store_that_reaches_its_limit_within_a_day_refuses_nothing_where_upkeep_comes(
    tmp_path: Path, clock: Clock
) -> None:
    archive = LogArchive(tmp_path, max_bytes=1024 * 1024, service_max_bytes=None, clock=clock)
    for number in range(400):
        clock.now += 1
        archive.append([Batch("s", "i", "c", [(clock.now, STDOUT, b"%d " % number + os.urandom(50_000))], "p")])
        if number % 50 == 49:
            archive.maintain(0.01)
    kept = [line.message.split()[0] for line in archive.read(wanted(stream=STDOUT))]

    assert kept == [str(number) for number in range(400 - len(kept), 400)]
    assert 10 < len(kept) < 21
    archive.close()


def wreck(path: Path, start: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"no database at all" * (path.stat().st_size // 18))


def test_damaged_day_is_left_out_by_readers_and_put_aside_by_upkeep(
    archive: LogArchive, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for day in range(3):
        archive.append([batch("c", *((clock.now + number, f"{day}") for number in range(1000)))])
        clock.now += DAY_NS
    archive.close()
    wreck(archive.folder / "20260302.sqlite")

    assert texts(archive.read(wanted())) == ["0"] * 1000 + ["2"] * 1000
    assert "20260302.sqlite is damaged" in caplog.text
    assert archive.days("s") == ("20260301", "20260303")
    assert texts(archive.appended(archive.latest() - 1)[1]) == ["2"]
    archive.maintain()
    assert sorted(path.name for path in archive.folder.iterdir() if path.name.endswith((".sqlite", "-1"))) == [
        "20260301.sqlite",
        "20260302.sqlite.damaged-1",
        "20260303.sqlite",
    ]
    assert archive.size_bytes() >= (archive.folder / "20260302.sqlite.damaged-1").stat().st_size
    archive.purge(NOON + 2 * DAY_NS)
    left = [path.name for path in archive.folder.glob("*.sqlite*") if not path.name.endswith(("-wal", "-shm"))]
    assert left == ["20260303.sqlite"]


def test_damage_in_the_middle_of_a_day_costs_that_day_alone(archive: LogArchive, clock: Clock) -> None:
    for day in range(2):
        noise = random.Random(day).randbytes(2_000_000).hex()
        archive.append([batch("c", *((clock.now + at, f"{day}{noise[at : at + 1000]}") for at in range(3000)))])
        clock.now += DAY_NS
    archive.append([batch("c", (clock.now, "2"))])
    archive.close()
    wreck(archive.folder / "20260302.sqlite", start=500_000)

    found = texts(archive.read(wanted()))
    assert sum(text.startswith("0") for text in found) == 3000
    assert found[-1] == "2"
    archive.maintain()
    archive.append([batch("c", (clock.now, "goes on"))])
    assert texts(archive.read(wanted()))[-1] == "goes on"


def test_damaged_current_day_is_put_aside_and_collecting_goes_on(
    archive: LogArchive, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    archive.append([batch("c", (clock.now, "yesterday"), position="old")])
    clock.now += DAY_NS
    archive.append([batch("c", (clock.now, "lost"), position="newer")])
    number = archive.latest()
    archive.close()
    wreck(archive.folder / "20260302.sqlite")
    clock.now += 1_000_000_000

    assert archive.position("c") == "old"
    archive.append([batch("c", (clock.now, "again"), position="newest")])
    assert "put aside as 20260302.sqlite.damaged-1" in caplog.text
    assert texts(archive.read(wanted())) == ["yesterday", "again"]
    assert archive.position("c") == "newest"
    assert texts(archive.appended(number)[1]) == ["again"]


def test_current_day_damaged_under_the_open_writer_costs_one_refused_append_at_most(
    archive: LogArchive, clock: Clock
) -> None:
    archive.append([batch("c", (clock.now, "lost"), position="old")])
    with sqlite3.connect(next(archive.folder.glob("*.sqlite"))) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    wreck(next(archive.folder.glob("*.sqlite")))
    try:
        archive.append([batch("d", (clock.now, "first"), position="p", service="new")])
    except LogStoreError:
        archive.append([batch("d", (clock.now, "first"), position="p", service="new")])
    archive.append([batch("d", (clock.now, "second"), position="q", service="new")])

    eventually(lambda: texts(archive.read(wanted(service="new"))) == ["first", "second"], 10)


def test_day_that_was_never_finished_counts_for_nothing(archive: LogArchive, clock: Clock) -> None:
    archive.append([batch("c", (clock.now, "a"), position="one")])
    clock.now += DAY_NS
    (archive.folder / "20260302.sqlite").touch()
    assert texts(archive.read(wanted())) == ["a"]
    archive.close()
    assert archive.position("c") == "one"
    archive.append([batch("c", (clock.now, "b"), position="two")])

    assert texts(archive.read(wanted())) == ["a", "b"]
    assert archive.position("c") == "two"


def test_unusable_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    archive = LogArchive(tmp_path / "file" / "logs", max_bytes=None, service_max_bytes=None)

    with pytest.raises(LogStoreError, match="log store"):
        archive.append([batch("c", (1, "a"))])
