"""Following what grows: one thread asks the source for all followers, each of which has a bounded backlog. No HTTP."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

log = logging.getLogger("skylark.follow")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.05, 0.2  # between two looks at the source: short while much comes
RETRY_SECONDS = 1.0
TURN_SECONDS = 1.0  # a follower with nothing to do looks up this often: is its client still there?
BACKLOG_ITEMS, BACKLOG_BYTES = 5000, 4 * 1024 * 1024


class Source(Protocol[T_co]):
    """What can be followed: items numbered in the order in which they became readable."""

    def latest(self) -> int:
        """The number of the newest item."""

    def appended(self, after: int) -> tuple[int, Sequence[tuple[int, T_co]]]:
        """Items with higher numbers, some thousands at most, ascending, and the number to go on from."""


class Backlog(Generic[T]):
    """What came for one follower and was not taken yet."""

    def __init__(self, key: str | None, wants: Callable[[T], bool], size: Callable[[T], int]) -> None:
        self.key = key
        self._wants = wants
        self._size = size
        self._changed = threading.Condition()
        self._items: list[tuple[int, T]] = []
        self._bytes = 0
        self._position = 0
        self._full = False

    def put(self, position: int, items: Sequence[tuple[int, T]]) -> bool:
        """Add what is wanted of these; False: there is no room, and nothing more is added from now on."""
        wanted = [item for item in items if self._wants(item[1])]
        grown = sum(self._size(item) for _, item in wanted)
        with self._changed:
            too_much = len(self._items) + len(wanted) > BACKLOG_ITEMS or self._bytes + grown > BACKLOG_BYTES
            if wanted and self._items and too_much:  # an empty backlog takes whatever the source gives at a time
                self._full = True
            else:
                self._items += wanted
                self._bytes += grown
                self._position = position
            if wanted:
                self._changed.notify()
            return not self._full

    def take(self) -> tuple[int, list[tuple[int, T]], bool]:
        """Wait a turn for items. The number up to which all were put, those not taken yet, whether it was too much."""
        with self._changed:
            if not self._items and not self._full:
                self._changed.wait(TURN_SECONDS)
            items, self._items, self._bytes = self._items, [], 0
            return self._position, items, self._full


class Tail(Generic[T]):
    """The newest of a source, for any number of followers; it looks only while somebody follows."""

    def __init__(self, name: str, source: Source[T], key: Callable[[T], str], size: Callable[[T], int]) -> None:
        self._name = name
        self.source = source
        self._key = key
        self._size = size
        self._lock = threading.Lock()
        self._backlogs: list[Backlog[T]] = []
        self._position = 0
        self._era = 0  # counts the threads: each ends when the next begins

    def follow(self, start: int, key: str | None, wants: Callable[[T], bool]) -> Iterator[list[tuple[int, T]]]:
        """Every wanted item numbered above `start`, in batches, without end; an empty batch when a turn is over.

        `key`: only items with this key; None: all. A follower that is too slow for its backlog reads the source
        itself until it has caught up, so memory is bounded and nothing is lost. Raises what the source raises.
        """
        position = start
        while True:
            caught_up = False
            while not caught_up:  # so much may have come that one look at the tail's position is not enough
                after, items = self.source.appended(position)
                yield [i for i in items if self._is_for(key, i[1]) and wants(i[1])]
                caught_up, position = after == position, after
            backlog: Backlog[T] = Backlog(key, wants, self._size)
            try:
                joined = self._join(backlog, min(position, self.source.latest()))
                while position < joined:
                    after, items = self.source.appended(position)
                    yield [i for i in items if i[0] <= joined and self._is_for(key, i[1]) and wants(i[1])]
                    position = min(after, joined) if after > position else joined
                full = False
                while not full:
                    covered, items, full = backlog.take()
                    yield [item for item in items if item[0] > position]
                    position = max(position, covered)
            finally:
                self._leave(backlog)

    def _is_for(self, key: str | None, item: T) -> bool:
        return key is None or self._key(item) == key

    def _join(self, backlog: Backlog[T], position: int) -> int:
        """The number behind which everything comes through the backlog.

        `position`: where to look on from; never above the source's latest, or nobody would get what comes below it.
        """
        with self._lock:
            if not self._backlogs:  # a thread that looks on for nobody ends by itself
                self._position, self._era = position, self._era + 1
                threading.Thread(target=self._run, args=(self._era,), name=self._name, daemon=True).start()
            self._backlogs.append(backlog)
            return self._position

    def _leave(self, backlog: Backlog[T]) -> None:
        with self._lock:
            if backlog in self._backlogs:
                self._backlogs.remove(backlog)

    def _run(self, era: int) -> None:
        pause, told = LEAST_PAUSE_SECONDS, False
        waiting = threading.Event()
        while True:
            with self._lock:
                if era != self._era or not self._backlogs:
                    return
                after = self._position
            try:
                position, items = self.source.appended(after)
            except Exception as error:  # whatever it is: a thread that ends here would leave its followers waiting
                if not told:
                    log.warning("%s: the source can't be read, followers wait: %s", self._name, error)
                told = True
                waiting.wait(RETRY_SECONDS)
                continue
            if told:
                log.info("%s: the source can be read again", self._name)
            told = False
            self._hand_out(era, position, items)
            pause = LEAST_PAUSE_SECONDS if items else min(pause * 1.5, MOST_PAUSE_SECONDS)
            waiting.wait(pause)

    def _hand_out(self, era: int, position: int, items: Sequence[tuple[int, T]]) -> None:
        """To all that wait for them: sorted by key once, not once for each follower."""
        by_key: dict[str, list[tuple[int, T]]] = {}
        for item in items:
            by_key.setdefault(self._key(item[1]), []).append(item)
        with self._lock:
            if era != self._era:
                return
            self._position = position
            self._backlogs = [
                backlog
                for backlog in self._backlogs
                if backlog.put(position, items if backlog.key is None else by_key.get(backlog.key, ()))
            ]
