"""The log archive: what is stored comes back, in order, once; lines and positions move together."""

from __future__ import annotations

import random
import sqlite3
from threading import Thread

import pytest

from orchestrator.logs.archive import LogArchive, day_range
from orchestrator.logs.chunks import CLOCK_STEP_NS, HOUR_NS
from orchestrator.logs.lines import STDERR, STDOUT, Batch, StoredLine
from tests.support.archive import DAY_NS, NOON, Clock, batch, texts, wanted


def test_archive_that_was_never_written_answers_nothing_and_makes_no_file(archive: LogArchive) -> None:
    assert texts(archive.read(wanted())) == []
    assert texts(archive.read(wanted(newest=True, limit=3))) == []
    assert archive.position("c") is None
    assert archive.latest() == 0
    assert archive.appended(0) == (0, ())
    assert (archive.days("s"), archive.services(), archive.size_bytes()) == ((), (), 0)
    archive.forget_container("c")
    archive.append([])

    assert not archive.folder.exists()


def test_lines_of_all_instances_come_merged_in_time_order(archive: LogArchive) -> None:
    archive.append([batch("c", (30, "c"), (50, "e"))])
    archive.append([batch("d", (20, "b"), (40, "d")), batch("e", (10, "a"), (45, "d2"))])
    archive.append([batch("f", (25, "other"), service="t")])

    assert texts(archive.read(wanted())) == ["a", "b", "c", "d", "d2", "e"]
    assert texts(archive.read(wanted(service="t"))) == ["other"]


def test_range_includes_both_ends(archive: LogArchive) -> None:
    archive.append([batch("c", *((at, str(at)) for at in (9, 10, 11, 20, 21)))])

    assert texts(archive.read(wanted(10, 20))) == ["10", "11", "20"]
    assert texts(archive.read(wanted(12, 19))) == []


def test_range_beyond_every_clock_is_read_as_far_as_there_are_lines(archive: LogArchive) -> None:
    archive.append([batch("c", (1, "a"))])

    assert texts(archive.read(wanted(-(10**30), 10**30))) == ["a"]


def test_stored_line_tells_where_it_comes_from(archive: LogArchive) -> None:
    archive.append([Batch("s", "i", "c", [(5, STDERR, b"oh")], "p")])
    found = next(archive.read(wanted()))

    assert found == StoredLine("s", "i", 5, STDERR, "oh", found.cursor, found.number)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"\xff\x00\xe4\xbd\xa0", "\ufffd\x00你"),
        (b"", ""),
        (b"a\nb\r", "a\nb\r"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        (random.Random(1).randbytes(1_000_000).replace(b"\x00", b"x"), None),
        ("你好".encode() * 200_000, "你好" * 200_000),
    ],
    ids=["no-utf8", "empty", "line-ends", "ansi", "a-megabyte-of-noise", "a-megabyte-of-text"],
)
def test_any_message_comes_back_whole(archive: LogArchive, message: bytes, text: str | None) -> None:
    archive.append([Batch("s", "i", "c", [(1, STDOUT, b"before"), (1, STDOUT, message), (1, STDOUT, b"after")], "")])

    assert texts(archive.read(wanted())) == ["before", message.decode("utf-8", "replace"), "after"]
    assert text is None or message.decode("utf-8", "replace") == text


def test_lines_of_one_nanosecond_keep_their_order_over_any_number_of_chunks(archive: LogArchive) -> None:
    archive.append([batch("c", *((7, str(number)) for number in range(10_000)))])
    archive.append([batch("c", *((7, str(number)) for number in range(10_000, 10_010)))])

    assert texts(archive.read(wanted(7, 7))) == [str(number) for number in range(10_010)]


def test_time_within_a_container_never_goes_back_a_little(archive: LogArchive) -> None:
    archive.append([batch("c", (10, "a"), (12, "b"), (11, "c"))])
    archive.append([batch("c", (5, "d"), (13, "e"))])

    found = [(line.at_ns, line.message) for line in archive.read(wanted())]
    assert found == [(10, "a"), (12, "b"), (12, "c"), (12, "d"), (13, "e")]


def test_clock_that_was_set_back_is_believed(archive: LogArchive) -> None:
    late = NOON + 2 * CLOCK_STEP_NS
    archive.append([batch("c", (late, "late"), (NOON, "corrected"))])
    archive.append([batch("c", (NOON - 1, "hardly before"), (NOON + 1, "next"))])

    found = [(line.at_ns, line.message) for line in archive.read(wanted())]
    assert found == [(NOON, "corrected"), (NOON, "hardly before"), (NOON + 1, "next"), (late, "late")]


def test_clock_that_jumps_ahead_by_days_does_not_hide_lines(archive: LogArchive) -> None:
    times = [NOON, NOON + 3 * HOUR_NS, NOON + 9 * DAY_NS, NOON + 9 * DAY_NS + 1]
    archive.append([batch("c", *((at, str(at)) for at in times))])

    for at in times:
        assert texts(archive.read(wanted(at, at))) == [str(at)]
    assert archive.days("s") == ("20260301", "20260310")
    assert texts(archive.read(wanted(*day_range("20260310")))) == [str(at) for at in times[2:]]


@pytest.mark.parametrize("seed", range(6))
def test_pages_by_cursor_are_the_whole_merged_log_in_any_mix(archive: LogArchive, clock: Clock, seed: int) -> None:
    dice = random.Random(seed)
    at = dict.fromkeys("abcd", NOON)
    expected = []
    for _ in range(120):
        name = dice.choice("abcd")
        lines = []
        for _ in range(dice.choice((1, 1, 3, 40))):
            at[name] += dice.choice((0, 0, 1, 1000, 10**9, 600 * 10**9))
            lines.append((at[name], f"{name}{len(expected)}"))
            expected.append(lines[-1])
        archive.append([batch(name, *lines)])
        clock.now = max(at.values())
    expected.sort(key=lambda line: line[0])  # stable: by arrival within a time

    for start, end in [(0, 2**62), (expected[99][0], expected[333][0]), (expected[50][0] + 1, expected[51][0])]:
        whole = [line for line in expected if start <= line[0] <= end]
        paged: list[StoredLine] = []
        while True:
            after = paged[-1].cursor if paged else ""
            page = list(archive.read(wanted(start, end, limit=dice.randint(1, 60), after=after)))
            if not page:
                break
            paged += page
        assert [(line.at_ns, line.message) for line in paged] == whole
        for limit in (1, 7, 200):
            last = texts(archive.read(wanted(start, end, limit=limit, newest=True)))
            assert last == [text for _, text in whole][-limit:]


def test_instance_and_stream_choose_lines(archive: LogArchive) -> None:
    archive.append([Batch("s", "abcdef01-2345", "c", [(1, STDOUT, b"a"), (2, STDERR, b"b")], "")])
    archive.append([Batch("s", "abcdef99-2345", "d", [(3, STDOUT, b"c"), (4, STDERR, b"d")], "")])

    assert texts(archive.read(wanted(instance="abcdef01-2345"))) == ["a", "b"]
    assert texts(archive.read(wanted(instance="abcdef99"))) == ["c", "d"]
    assert texts(archive.read(wanted(instance="abcdef", stream=STDERR))) == ["b", "d"]
    assert texts(archive.read(wanted(instance="abcdef01", stream=STDERR, newest=True, limit=5))) == ["b"]
    assert texts(archive.read(wanted(instance="none"))) == []


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1", "1-2-3", "²-1", "1-" + "9" * 40, "9" * 30 + "-1"])
def test_cursor_that_is_none_is_refused_at_once(archive: LogArchive, cursor: str) -> None:
    with pytest.raises(ValueError, match="after: not a cursor"):
        archive.read(wanted(after=cursor))


def test_position_is_the_last_one_stored_and_goes_with_its_container(archive: LogArchive) -> None:
    archive.append([batch("c", (1, "a"), position="one"), batch("d", (1, "b"), position="other")])
    archive.append([batch("c", (2, "a"), position="two"), batch("c", position="three")])
    assert (archive.position("c"), archive.position("d")) == ("three", "other")
    archive.forget_container("c")

    assert (archive.position("c"), archive.position("d")) == (None, "other")
    assert texts(archive.read(wanted())) == ["a", "b", "a"]


def test_container_that_comes_back_after_it_was_forgotten_begins_anew(archive: LogArchive) -> None:
    archive.append([batch("c", (10, "a"))])
    archive.forget_container("c")
    archive.append([batch("c", (5, "b"))])

    assert [(line.at_ns, line.message) for line in archive.read(wanted())] == [(5, "b"), (10, "a")]


def test_new_day_has_its_own_file_and_knows_the_positions(archive: LogArchive, clock: Clock) -> None:
    archive.append([batch("c", (NOON, "a"), position="one"), batch("d", (NOON, "b"), position="quiet")])
    clock.now += DAY_NS
    archive.append([batch("c", (NOON - 1, "late"), (clock.now, "c"), position="two")])
    archive.close()

    assert sorted(path.name for path in archive.folder.iterdir()) == ["20260301.sqlite", "20260302.sqlite"]
    assert (archive.position("c"), archive.position("d")) == ("two", "quiet")
    assert texts(archive.read(wanted())) == ["a", "b", "late", "c"]
    assert texts(archive.read(wanted(NOON, NOON))) == ["a", "b", "late"]
    assert archive.days("s") == ("20260301", "20260302")


def test_clock_set_back_over_midnight_goes_on_in_the_newest_file(archive: LogArchive, clock: Clock) -> None:
    archive.append([batch("c", (NOON, "a"), position="one")])
    clock.now -= DAY_NS
    archive.append([batch("c", (NOON, "b"), position="two")])

    assert [path.name for path in archive.folder.glob("*.sqlite")] == ["20260301.sqlite"]
    assert archive.position("c") == "two"


def test_follower_gets_every_line_once_in_the_order_of_storing_over_days(archive: LogArchive, clock: Clock) -> None:
    start = archive.latest()
    for number in range(30):
        archive.append([batch(name, (clock.now, f"{number}{name}{part}")) for name in "ab" for part in range(400)])
        clock.now += DAY_NS // 10
    found: list[str] = []
    after = start
    while True:
        after, lines = archive.appended(after)
        if not lines:
            break
        assert len(lines) < 10_000
        found += texts(iter(lines))

    assert found == [f"{number}{name}{part}" for number in range(30) for name in "ab" for part in range(400)]
    assert archive.appended(after) == (archive.latest(), ())
    archive.append([batch("c", (1, "news"), service="t")])
    after, lines = archive.appended(after)
    assert [(line.service_uuid, line.message) for line in lines] == [("t", "news")]


def test_another_process_reads_what_was_written_even_after_the_writer_closed(archive: LogArchive) -> None:
    archive.append([batch("c", (1, "a"))])
    other = LogArchive(archive.folder, max_bytes=None, service_max_bytes=None)
    assert texts(other.read(wanted())) == ["a"]
    archive.close()
    assert texts(other.read(wanted())) == ["a"]


def test_half_read_range_does_not_hold_up_writers_or_the_checkpoint(archive: LogArchive) -> None:
    archive.append([batch("c", *((number, "x") for number in range(20_000)))])
    reading = archive.read(wanted())
    next(reading)
    archive.append([batch("c", (30_000, "late"))])

    with sqlite3.connect(next(archive.folder.glob("*.sqlite"))) as db:
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    assert len(list(reading)) >= 19_999


def test_several_threads_write_at_once(archive: LogArchive) -> None:
    def write(number: int) -> None:
        for at in range(50):
            archive.append([batch(f"c{number}", *[(at, "x")] * 4, position=str(at))])

    threads = [Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(list(archive.read(wanted()))) == 6 * 50 * 4
    assert {archive.position(f"c{number}") for number in range(6)} == {"49"}


def test_statistics_count_lines_and_bytes(archive: LogArchive, clock: Clock) -> None:
    archive.append([batch("c", (1, "abc"), (2, "de")), batch("d", (1, "f"), service="t")])
    clock.now += DAY_NS
    archive.append([batch("c", (3, "ghij"))])
    found = archive.statistics()

    assert (found.lines, found.text_bytes, found.partitions) == (4, 10, 2)
    assert archive.size_bytes() == sum(path.stat().st_size for path in archive.folder.iterdir())
    assert archive.services() == ("s", "t")
