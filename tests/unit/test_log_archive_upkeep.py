"""Upkeep of the log archive: merging, the text index, limits and removal; what readers see meanwhile."""

from __future__ import annotations

import random
import sqlite3

import pytest

from orchestrator.logs.archive import LogArchive
from orchestrator.logs.chunks import HOUR_NS
from orchestrator.logs.lines import SYSTEM
from tests.support.archive import DAY_NS, NOON, Clock, batch, texts, wanted

MB = 1024 * 1024


def limited(archive: LogArchive, *, total: int | None = None, service: int | None = None) -> LogArchive:
    archive.max_bytes, archive.service_max_bytes = total, service
    return archive


def chunks(archive: LogArchive) -> int:
    count = 0
    for path in archive.folder.glob("*.sqlite"):
        with sqlite3.connect(path) as db:
            count += db.execute("SELECT count(*) FROM chunks").fetchone()[0]
    return count


def drip(archive: LogArchive, clock: Clock, count: int = 400) -> list[str]:
    """Lines of three containers, one or two at a time, of equal and unequal times; their texts in the order of time."""
    dice = random.Random(count)
    lines = []
    for number in range(count):
        clock.now += dice.choice((0, 1, 10**9, 60 * 10**9))
        name = dice.choice("abc")
        own = [(clock.now, f"{name}{number}.{part}") for part in range(dice.choice((1, 2)))]
        archive.append([batch(name, *own)])
        lines += own
    return [text for _, text in lines]


def noise(size: int, seed: int) -> str:
    return random.Random(seed).randbytes(size // 2).hex()


def test_merging_makes_few_chunks_of_many_and_readers_see_no_difference(archive: LogArchive, clock: Clock) -> None:
    drip(archive, clock)
    before, followed = list(archive.read(wanted())), archive.appended(0)
    many = chunks(archive)
    archive.maintain()

    assert chunks(archive) < many / 10
    assert list(archive.read(wanted())) == before
    assert archive.appended(0) == followed
    assert list(archive.read(wanted(newest=True, limit=50))) == before[-50:]
    statistics = archive.statistics()
    assert (statistics.lines, statistics.text_bytes) == (len(before), sum(len(line.message) for line in before))


def test_reader_under_way_while_chunks_merge_and_days_change_loses_and_doubles_nothing(
    archive: LogArchive, clock: Clock
) -> None:
    expected = drip(archive, clock)
    found = []
    for number, line in enumerate(archive.read(wanted(end_ns=clock.now))):
        found.append(line.message)
        if number % 40 == 0:
            clock.now += HOUR_NS
            archive.append([batch(name, (clock.now, "later")) for name in "abc"])
            archive.maintain()

    assert found == expected


def test_cursor_goes_on_behind_its_line_after_merging(archive: LogArchive, clock: Clock) -> None:
    expected = drip(archive, clock)
    found: list[str] = []
    after = ""
    while page := list(archive.read(wanted(limit=17, after=after))):
        found += texts(page)
        after = page[-1].cursor
        clock.now += HOUR_NS
        archive.maintain()

    assert found == expected


def test_follower_that_lags_behind_merging_gets_the_order_of_storing(archive: LogArchive, clock: Clock) -> None:
    start = archive.latest()
    expected = drip(archive, clock, 300)
    after, first = archive.appended(start)
    clock.now += HOUR_NS
    archive.maintain()
    middle = first[100].number
    _, rest = archive.appended(middle)

    assert texts(first) == expected
    assert texts(rest) == expected[101:]
    assert archive.appended(after)[1] == ()


def test_merging_twice_changes_nothing(archive: LogArchive, clock: Clock) -> None:
    drip(archive, clock)
    clock.now += HOUR_NS
    archive.maintain()
    archive.maintain()
    once = chunks(archive)
    archive.maintain()

    assert chunks(archive) == once


@pytest.mark.parametrize("indexed", [False, True], ids=["fresh", "indexed"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("time", ["Connection TIMEOUT after 3 s", "two timeouts"]),
        ("TIMEOUT after", ["Connection TIMEOUT after 3 s"]),
        ("S ", ["über alles Übel"]),
        ("你好", ["say 你好 now"]),
        ("好 n", ["say 你好 now"]),
        ("ÜBER", ["über alles Übel"]),
        ("STRASSE", ["STRASSE straße"]),
        ('"quoted"', ['a "quoted" OR word*']),
        ("* OR", []),
        ("OR word*", ['a "quoted" OR word*']),
        ("nul\x00byte", ["a nul\x00byte inside"]),
        ("byte ins", ["a nul\x00byte inside"]),
        ("endbeg", []),
        ("nowhere", []),
    ],
)
def test_search_finds_any_part_of_a_line_in_any_case(
    archive: LogArchive, clock: Clock, query: str, expected: list[str], indexed: bool
) -> None:
    lines = ["Connection TIMEOUT after 3 s", "two timeouts", "say 你好 now", "über alles Übel", "STRASSE straße"]
    lines += ['a "quoted" OR word*', "a nul\x00byte inside", "the end", "beg"]
    for number, text in enumerate(lines):
        archive.append([batch(f"c{number % 2}", (NOON + number, text))])
    if indexed:
        clock.now += HOUR_NS
        archive.maintain()
        archive.maintain()
        assert list(archive.folder.glob("*.index"))

    assert texts(archive.read(wanted(query=query))) == expected
    assert texts(archive.read(wanted(query=query, newest=True, limit=1))) == expected[-1:]


def test_search_by_index_is_complete_while_chunks_come_and_merge(archive: LogArchive, clock: Clock) -> None:
    dice = random.Random(3)
    expected = []
    for number in range(300):
        text = " ".join(dice.choice(("alpha", "beta", "gamma", "needle")) + str(dice.randrange(99)) for _ in range(3))
        clock.now += 60 * 10**9
        archive.append([batch(dice.choice("ab"), (clock.now, text))])
        expected += [text] if "needle7" in text else []
        if number % 50 == 0:
            archive.maintain()
        assert texts(archive.read(wanted(query="NEEDLE7"))) == expected
    assert expected


def test_damaged_index_is_left_out_and_made_again(archive: LogArchive, clock: Clock) -> None:
    archive.append([batch("c", (NOON, "needle"))])
    clock.now += HOUR_NS
    archive.maintain()
    (index,) = archive.folder.glob("*.index")
    index.write_bytes(b"no database" * 1000)
    assert texts(archive.read(wanted(query="needle"))) == ["needle"]
    archive.append([batch("c", (NOON, "hay"))])
    archive.maintain()
    archive.maintain()

    assert texts(archive.read(wanted(query="needle"))) == ["needle"]
    with sqlite3.connect(index) as db:
        assert db.execute("SELECT count(*) FROM indexed").fetchone()[0] > 0


def test_service_over_its_limit_loses_its_oldest_lines_and_is_told(archive: LogArchive, clock: Clock) -> None:
    for number in range(40):
        clock.now += DAY_NS // 30
        archive.append([batch("c", (clock.now, f"{number} {noise(50_000, number)}"))])
        archive.append([batch("d", (clock.now, f"other {number}"), service="t")])
    limited(archive, service=MB // 2).maintain()
    lines = list(archive.read(wanted()))
    told = [line for line in lines if line.stream == SYSTEM]
    kept = [int(line.message.split()[0]) for line in lines if line.stream != SYSTEM]

    assert kept == list(range(40 - len(kept), 40))
    assert sum(len(line.message) // 2 for line in lines) <= MB // 2
    assert len(kept) >= 15
    (notice,) = [line.message for line in told]
    assert notice.startswith(f"{40 - len(kept)} lines of 2026-03-01T12:48:00Z to 2026-03-0")
    assert notice.endswith("Z were removed: the service's limit of 0.5 MB")
    assert len(list(archive.read(wanted(service="t")))) == 40
    archive.maintain()
    assert len([line for line in archive.read(wanted()) if line.stream == SYSTEM]) == 1


def test_total_over_its_limit_loses_the_oldest_day_and_every_service_is_told(archive: LogArchive, clock: Clock) -> None:
    for day in range(4):
        archive.append([batch("c", (clock.now, f"{day} {noise(400_000, day)}"))])
        archive.append([batch("d", (clock.now, f"small {day}"), service="t")])
        clock.now += DAY_NS
    archive.append([batch("c", (clock.now, "today"))])
    limited(archive, total=MB // 2).maintain()

    assert min(path.name for path in archive.folder.glob("*.sqlite")) >= "20260303.sqlite"
    for service in ("s", "t"):
        told = [line.message for line in archive.read(wanted(service=service)) if line.stream == SYSTEM]
        assert told
        assert all("1 lines of 2026-03-0" in each and "the limit of all logs of 0.5 MB" in each for each in told)
    assert "today" in texts(archive.read(wanted()))


def test_total_over_its_limit_today_takes_from_the_biggest_service(archive: LogArchive, clock: Clock) -> None:
    for number in range(40):
        clock.now += 10**9
        archive.append([batch("c", (clock.now, f"{number} {noise(50_000, number)}"))])
        archive.append([batch("d", (clock.now, f"small {number}"), service="t")])
    limited(archive, total=MB // 2).maintain()
    kept = [line for line in archive.read(wanted()) if line.stream != SYSTEM]

    assert 5 < len(kept) < 25
    assert kept[-1].message.startswith("39 ")
    assert len(list(archive.read(wanted(service="t")))) == 40


def test_purge_deletes_old_days_and_keeps_positions(archive: LogArchive, clock: Clock) -> None:
    for day in range(5):
        archive.append([batch(f"c{day}", (clock.now, f"{day}"), position=f"p{day}")])
        clock.now += DAY_NS

    assert archive.purge(NOON + 2 * DAY_NS) == 2
    assert min(path.name for path in archive.folder.glob("*.sqlite")) == "20260303.sqlite"
    assert texts(archive.read(wanted())) == ["2", "3", "4"]
    assert archive.position("c0") == "p0"
    assert archive.purge(2**62) == 3
    assert texts(archive.read(wanted())) == []
    assert [archive.position(f"c{day}") for day in range(5)] == [f"p{day}" for day in range(5)]
    archive.append([batch("c", (clock.now, "new"))])
    assert texts(archive.read(wanted())) == ["new"]


def test_reader_of_a_day_that_is_deleted_meanwhile_reads_on(archive: LogArchive, clock: Clock) -> None:
    for day in range(3):
        archive.append([batch("c", *((clock.now + number, f"{day}.{number}") for number in range(9000)))])
        clock.now += DAY_NS
    reading = archive.read(wanted())
    first = next(reading)
    archive.purge(NOON + 2 * DAY_NS)

    assert [first.message, *texts(reading)] == [f"{day}.{number}" for day in range(3) for number in range(9000)]
    assert texts(archive.read(wanted()))[0] == "2.0"


def test_forgotten_service_leaves_others_alone(archive: LogArchive, clock: Clock) -> None:
    for _ in range(3):
        archive.append([batch("c", (clock.now, "a")), batch("d", (clock.now, "b"), service="t")])
        clock.now += DAY_NS
    archive.forget_service("s")

    assert texts(archive.read(wanted())) == []
    assert (archive.position("c"), archive.position("d")) == (None, "p")
    assert texts(archive.read(wanted(service="t"))) == ["b", "b", "b"]
    assert archive.services() == ("t",)
    assert archive.days("s") == ()
    number = archive.latest()
    archive.append([batch("c", (clock.now, "again"))])
    assert texts(archive.appended(number)[1]) == ["again"]
    assert texts(archive.read(wanted())) == ["again"]
