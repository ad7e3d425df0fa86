"""The log store and going on after an interruption: no line lost, none twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from orchestrator.engine.base import LogLine
from orchestrator.logs.resume import Position, resume, since_seconds
from orchestrator.logs.store import LogStore, LogStoreError, LogStoreFull, NewLine, StoredLine

ROOT = Path(__file__).resolve().parent.parent.parent
END = 2**62
WRITER = """
import sys
from pathlib import Path
from orchestrator.logs.store import LogStore, NewLine
store = LogStore(Path(sys.argv[1]))
for number in range(1_000_000):
    store.append([NewLine("s", "i", "c", number * 10 + part, "stdout", b"x" * 100) for part in range(10)])
    print(number, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "lines.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[LogStore]:
    store = LogStore(path)
    yield store
    store.close()


def line(
    at_ns: int, message: bytes = b"hello", *, service: str = "s", instance: str = "i", container: str = "c"
) -> NewLine:
    return NewLine(service, instance, container, at_ns, "stdout", message)


def texts(lines: Iterator[StoredLine]) -> list[str]:
    return [found.message for found in lines]


def test_store_that_was_never_written_reads_empty_and_makes_no_file(store: LogStore, path: Path) -> None:
    assert list(store.read("s", 0, END)) == []
    assert store.position("c") is None
    assert store.purge(END) == 0
    store.forget_service("s")
    store.forget_container("c")
    store.append([])

    assert not path.parent.exists()


def test_lines_of_all_instances_come_merged_in_time_order(store: LogStore) -> None:
    store.append([line(30, b"c"), line(50, b"e")])
    store.append([line(20, b"b", container="d", instance="j"), line(40, b"d", container="d", instance="j")])
    store.append([line(10, b"a", container="e", instance="k"), line(35, b"other", service="t", container="x")])

    assert texts(store.read("s", 0, END)) == ["a", "b", "c", "d", "e"]
    assert texts(store.read("s", 0, END, instance_uuid="j")) == ["b", "d"]


def test_range_includes_both_ends(store: LogStore) -> None:
    store.append([line(at, str(at).encode()) for at in (9, 10, 11, 20, 21)])

    assert texts(store.read("s", 10, 20)) == ["10", "11", "20"]


def test_lines_of_equal_time_keep_their_order_across_pages(store: LogStore) -> None:
    store.append([line(7, str(number).encode()) for number in range(1234)])

    assert texts(store.read("s", 7, 7)) == [str(number) for number in range(1234)]


def test_stored_line_tells_where_it_comes_from(store: LogStore) -> None:
    store.append([NewLine("s", "i", "c", 5, "stderr", b"oh")])

    assert list(store.read("s", 0, END)) == [StoredLine("s", "i", 5, "stderr", "oh")]


def test_bytes_that_are_no_text_are_replaced(store: LogStore) -> None:
    store.append([line(1, b"\xff\x00\xe4\xbd\xa0"), line(2, b"")])

    assert texts(store.read("s", 0, END)) == ["\ufffd\x00你", ""]


@pytest.mark.parametrize("message", [b"x" * 200_000, "a你".encode() * 50_000, b"\x80" * 70_000])
def test_long_line_is_split_and_nothing_of_it_lost(store: LogStore, message: bytes) -> None:
    store.append([line(1, message), line(2, b"next")])

    parts = texts(store.read("s", 0, END))
    assert "".join(parts[:-1]) == message.decode("utf-8", "replace")
    assert all(len(part.encode()) <= 3 * 64 * 1024 for part in parts)
    assert len(parts) > 2
    assert store.position("c") == Position(2, 1)


def test_position_counts_lines_of_the_last_time_over_batches(store: LogStore) -> None:
    store.append([line(10), line(12), line(12)])
    assert store.position("c") == Position(12, 2)
    store.append([line(12), line(12, b"y" * 100_000), line(1, container="d")])
    assert store.position("c") == Position(12, 4)
    store.append([line(13)])
    assert store.position("c") == Position(13, 1)
    assert store.position("d") == Position(1, 1)


def test_another_process_reads_what_was_written_even_after_the_writer_closed(store: LogStore, path: Path) -> None:
    store.append([line(1)])
    assert texts(LogStore(path).read("s", 0, END)) == ["hello"]
    store.close()
    assert texts(LogStore(path).read("s", 0, END)) == ["hello"]


def test_reader_cannot_write(store: LogStore, path: Path) -> None:
    store.append([line(1)])
    reader = LogStore(path)
    with reader._read() as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        assert db is not None
        db.execute("DELETE FROM lines")


def test_half_read_range_does_not_hold_up_writers_or_the_checkpoint(store: LogStore, path: Path) -> None:
    store.append([line(number) for number in range(2000)])
    reading = store.read("s", 0, END)
    next(reading)
    store.append([line(5000)])

    with sqlite3.connect(path) as db:
        busy, in_log, done = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (busy, in_log, done) == (0, 0, 0)
    assert len(list(reading)) == 2000


def test_several_threads_write_at_once(store: LogStore) -> None:
    def write(number: int) -> None:
        for at in range(50):
            store.append([line(at, container=f"c{number}", instance=f"i{number}")] * 4)

    threads = [Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(list(store.read("s", 0, END))) == 6 * 50 * 4
    assert all(store.position(f"c{number}") == Position(49, 4) for number in range(6))


def test_purge_drops_old_lines_of_every_service_and_keeps_positions(store: LogStore) -> None:
    for service in ("a", "b", "c"):
        store.append([line(at, service=service, container=service) for at in range(6000)])

    assert store.purge(5999) == 3 * 5999
    assert [found.at_ns for service in ("a", "b", "c") for found in store.read(service, 0, END)] == [5999] * 3
    assert store.position("a") == Position(5999, 1)


def test_forgotten_service_leaves_others_alone(store: LogStore) -> None:
    store.append([line(1), line(1, service="t", container="d")])
    store.forget_service("s")

    assert list(store.read("s", 0, END)) == []
    assert store.position("c") is None
    assert texts(store.read("t", 0, END)) == ["hello"]
    assert store.position("d") == Position(1, 1)


def test_forgotten_container_keeps_its_lines(store: LogStore) -> None:
    store.append([line(1)])
    store.forget_container("c")

    assert store.position("c") is None
    assert texts(store.read("s", 0, END)) == ["hello"]


def test_full_store_refuses_the_batch_whole_and_takes_it_once_there_is_room(path: Path) -> None:
    store = LogStore(path, max_bytes=1024 * 1024)
    big = os.urandom(50_000)
    stored = 0
    with pytest.raises(LogStoreFull):
        for stored in range(100):
            store.append([line(stored, big), line(stored, b"small")])
    refused = [line(stored, big), line(stored, b"small")]

    assert store.position("c") == Position(stored - 1, 2)
    assert len(list(store.read("s", 0, END))) == 2 * stored
    with pytest.raises(LogStoreFull):
        store.append(refused)
    store.purge(stored // 2)
    store.append(refused)
    assert store.position("c") == Position(stored, 2)
    store.close()


def test_unusable_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(LogStoreError, match="log store"):
        LogStore(tmp_path / "file" / "lines.sqlite").append([line(1)])


def test_damaged_file_is_a_clear_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 1000)

    with pytest.raises(LogStoreError):
        list(LogStore(path).read("s", 0, END))


def test_killed_writer_leaves_lines_and_position_in_step(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.readlines()
    process.wait(timeout=30)
    whole = [text for text in acknowledged if text.endswith("\n")]

    store = LogStore(path)
    stored = [found.at_ns for found in store.read("s", 0, END)]
    assert len(stored) >= 10 * len(whole)
    assert stored == list(range(len(stored)))
    assert store.position("c") == Position(stored[-1], 1)


def logged(*times: int) -> list[LogLine]:
    """Lines of these times, each with its place in the log as its message."""
    return [LogLine(at, "stdout", str(number).encode()) for number, at in enumerate(times)]


def test_without_a_position_everything_is_new() -> None:
    assert list(resume(None, logged(1, 1, 2))) == logged(1, 1, 2)
    assert since_seconds(None) == 0


def test_lines_before_the_position_and_the_counted_ones_at_it_are_skipped() -> None:
    found = resume(Position(12, 2), logged(10, 12, 12, 12, 13))

    assert [(new.at_ns, new.message) for new in found] == [(12, b"3"), (13, b"4")]


def test_engine_that_lost_the_stored_lines_gives_only_new_ones() -> None:
    assert list(resume(Position(12, 2), logged(15, 16))) == logged(15, 16)


def test_line_stamped_out_of_order_is_neither_lost_nor_doubled() -> None:
    lines = logged(10, 12, 11, 12, 13)

    assert [new.message for new in resume(Position(12, 1), lines)] == [b"2", b"3", b"4"]
    assert [new.message for new in resume(Position(12, 2), lines)] == [b"3", b"4"]


def test_engine_is_asked_from_a_second_before_the_position() -> None:
    assert since_seconds(Position(1_700_000_000_999_999_999, 1)) == 1_699_999_999
    assert since_seconds(Position(5, 1)) == 0


def test_log_collected_with_interruptions_anywhere_is_whole(store: LogStore) -> None:
    dice = random.Random(4)
    times = [max(0, number // 3 + dice.choice((0, 0, -2))) for number in range(600)]
    lines = logged(*times)
    done = 0
    while done < len(lines):
        done += dice.randint(1, 40)  # what had been stored when the collector died
        new = list(resume(store.position("c"), lines[:done]))
        store.append([NewLine("s", "i", "c", each.at_ns, each.stream, each.message) for each in new])

    assert texts(store.read("s", 0, END)) == [str(number) for number in range(600)]
