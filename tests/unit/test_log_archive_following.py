"""Following the log archive from far behind: pieces that are bounded by lines and bytes, however chunks were merged."""

from __future__ import annotations

import sqlite3

from orchestrator.logs.archive import LogArchive
from orchestrator.logs.chunks import HOUR_NS
from orchestrator.logs.following import MOST_LINES
from orchestrator.logs.lines import PAGE_BYTES, StoredLine
from tests.support.archive import NOON, Clock, batch, texts


def pieces(archive: LogArchive, after: int) -> list[list[StoredLine]]:
    """All that is behind, as it is answered piece by piece."""
    found = []
    while True:
        after, lines = archive.appended(after)
        if not lines:
            return found
        assert after == lines[-1].number
        found.append(list(lines))


def side_by_side(archive: LogArchive, clock: Clock, *, containers: int, rounds: int) -> list[str]:
    """What containers say that all write a line a second; the hour is over and merged."""
    said = []
    for number in range(rounds):
        clock.now += 10**9
        now = [(f"c{name}", f"{name} says {number}") for name in range(containers)]
        archive.append([batch(name, (clock.now, text)) for name, text in now])
        said += [text for _, text in now]
    clock.now += HOUR_NS
    archive.maintain(60)
    archive.maintain(60)
    return said


def test_follower_of_many_containers_behind_merging_gets_few_pieces_of_bounded_size(
    archive: LogArchive, clock: Clock
) -> None:
    said = side_by_side(archive, clock, containers=60, rounds=300)
    found = pieces(archive, 0)

    assert [line.message for piece in found for line in piece] == said
    assert [len(piece) for piece in found] == [5000, 5000, 5000, 3000]


def test_follower_in_the_middle_of_merged_chunks_gets_the_rest(archive: LogArchive, clock: Clock) -> None:
    said = side_by_side(archive, clock, containers=7, rounds=100)
    (whole,) = pieces(archive, 0)

    for at in (0, 1, 333, 699):
        assert texts(archive.appended(whole[at].number)[1]) == said[at + 1 :]


def test_piece_of_long_lines_ends_by_their_bytes(archive: LogArchive) -> None:
    said = [f"{number} " + "x" * 700_000 for number in range(40)]
    for number, text in enumerate(said):
        archive.append([batch(f"c{number % 3}", (NOON + number, text))])
    found = pieces(archive, 0)

    assert [line.message for piece in found for line in piece] == said
    assert max(sum(len(line.message) for line in piece) for piece in found) <= PAGE_BYTES
    assert len(found) <= 5


def test_line_longer_than_a_piece_is_a_piece_of_its_own(archive: LogArchive) -> None:
    said = ["a", "b" * (PAGE_BYTES + 1), "c"]
    archive.append([batch("c", *((NOON + number, text) for number, text in enumerate(said)))])

    assert [texts(piece) for piece in pieces(archive, 0)] == [[text] for text in said]


def test_piece_of_which_nothing_can_be_unpacked_does_not_hide_what_is_behind_it(
    archive: LogArchive, clock: Clock
) -> None:
    lines = [(NOON + number, f"the line {number} of many that are alike") for number in range(MOST_LINES + 500)]
    for at in range(0, len(lines), 500):
        archive.append([batch("c", *lines[at : at + 500])])
    (path,) = archive.folder.glob("*.sqlite")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE chunks SET text = 'spoilt' WHERE id <= 10")

    assert texts(archive.appended(0)[1]) == [text for _, text in lines[MOST_LINES:]]
