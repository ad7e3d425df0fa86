"""Memory of the log archive's readers: bounded by what they answer at a time, whatever lies in the range."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Callable, Iterable

import pytest

from api.downloads import gzipped
from orchestrator.logs.archive import LogArchive
from orchestrator.logs.chunks import HOUR_NS
from orchestrator.logs.lines import PAGE_BYTES
from tests.support.archive import NOON, Clock, batch, texts, wanted

MB = 1024 * 1024


def peak_of(action: Callable[[], object]) -> int:
    """Bytes of memory that it takes at most."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read_through(lines: Iterable[object]) -> None:
    deque(lines, maxlen=0)


def test_last_lines_that_are_long_are_fewer_than_asked_for(archive: LogArchive) -> None:
    for number in range(60):
        archive.append([batch(f"c{number % 2}", (NOON + number, f"{number} " + "x" * (MB - 10)))])
    archive.append([batch("c0", *((NOON + 100 + number, f"short {number}") for number in range(50)))])
    found: list[str] = []
    peak = peak_of(lambda: found.extend(texts(archive.read(wanted(limit=10_000, newest=True)))))

    assert [text.split()[0] for text in found] == [*map(str, range(53, 60)), *["short"] * 50]
    assert sum(map(len, found)) <= PAGE_BYTES
    assert peak < 32 * MB


def test_last_line_longer_than_a_page_is_answered_alone(archive: LogArchive) -> None:
    archive.append([batch("c", (NOON, "before"), (NOON + 1, "x" * (PAGE_BYTES + 1)))])

    assert [len(text) for text in texts(archive.read(wanted(limit=5, newest=True)))] == [PAGE_BYTES + 1]


@pytest.mark.parametrize("way", ["range", "range-unmerged", "search", "download", "page-by-page"])
def test_memory_of_a_reader_does_not_grow_with_the_range(archive: LogArchive, clock: Clock, way: str) -> None:
    def read() -> None:
        if way == "page-by-page":
            after = ""
            while page := list(archive.read(wanted(limit=300, after=after))):
                after = page[-1].cursor
        elif way == "download":
            read_through(gzipped(archive.read(wanted())))
        else:
            read_through(archive.read(wanted(query="the line" if way == "search" else "")))

    def write(count: int) -> None:
        for _ in range(count):
            clock.now += 10**9
            lines = [(clock.now + part, f"the line {part} of {clock.now} " + "x" * 1000) for part in range(40)]
            archive.append([batch(name, *lines) for name in "ab"])
        if way != "range-unmerged":
            clock.now += HOUR_NS
            archive.maintain(60)

    write(7)  # more than a chunk of each container
    read()  # what is made once is made now
    few = peak_of(read)
    write(19 * 7)

    assert peak_of(read) < 2 * few
