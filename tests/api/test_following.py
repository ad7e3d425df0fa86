"""A tail shared by followers: none of them can take anything away from the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from api.following import Tail
from tests.support.poll import eventually


class Numbers:
    """A source of the numbers from 1 on."""

    def __init__(self) -> None:
        self.last = 0

    def latest(self) -> int:
        return self.last

    def appended(self, after: int) -> tuple[int, Sequence[tuple[int, str]]]:
        found = [(number, str(number)) for number in range(after + 1, self.last + 1)]
        return (found[-1][0] if found else after), found


def test_follower_who_begins_beyond_the_newest_takes_nothing_from_the_others() -> None:
    source = Numbers()
    tail = Tail("numbers", source, key=str, size=len)
    stranger = tail.follow(999, None, lambda _: True)
    assert list(islice(stranger, 2)) == [[], []]  # he has joined, and waits
    honest = tail.follow(0, None, lambda _: True)
    assert list(islice(honest, 2)) == [[], []]
    source.last = 3
    assert eventually(lambda: next(honest)) == [(1, "1"), (2, "2"), (3, "3")]
    source.last = 1001
    assert [number for number, _ in eventually(lambda: next(stranger))] == [1000, 1001]
    honest.close()
    stranger.close()
