"""Reads a log file on and on through the engine's rotation: `x.log`, once moved to `x.log.1`, is read to its end first.

A place in it is an inode, an offset and the bytes before it, which end in the stamp of the last record read: so it is
found again after a restart under whatever name, and neither an inode used anew nor a file cut short deceives.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.logs.gaps import CUT, NEVER_READ, ROTATED, TORN, UNREADABLE, with_bytes
from orchestrator.logs.record import LogFormat, Record

_TAIL_BYTES = 48  # `"time":"2026-01-02T03:04:05.000000006Z"}\n` and a little
_LONGEST_RECORD = 256 * 1024  # the engine cuts at 16 KiB, of which each byte may take six as JSON
_MOST_HELD = 2  # files that the engine has removed and that are still to be read: they keep their room on the disk
_MOST_UNKNOWN = 20  # names to try when nobody says how many the engine keeps


class Place(NamedTuple):
    """Where reading goes on: in the file with that inode, behind `tail`, which ends at `offset`."""

    inode: int
    offset: int
    tail: bytes = b""


@dataclass(frozen=True)
class Block:
    """Whole records (`data`) from one place to another. `gap`: what is missing before them, in words; "": nothing."""

    data: bytes
    start: Place
    end: Place
    gap: str = ""

    def marks(self, records: list[Record]) -> Iterator[Place]:
        """Where each of the block's records starts."""
        known, at = self.start.tail + self.data, 0
        for record in records:
            behind = at + len(self.start.tail)
            tail = known[max(0, behind - _TAIL_BYTES) : behind]
            yield Place(self.start.inode, self.start.offset + at, tail)
            at += record.size


class LogEnded(Exception):
    """The container is removed, and what it wrote is read to the end."""


class _File(NamedTuple):
    fd: int
    inode: int
    gap: str = ""  # what may be missing before it


class FileTail:
    """One container's log. `last_ns`, kept by the owner: the time of the last line read, for when its file is gone.

    `most_files`: how many the engine keeps, 0: not known. Not for several threads at once.
    """

    def __init__(self, path: str, form: LogFormat, place: Place | None = None, *, most_files: int = 0) -> None:
        self.place = place
        self.last_ns = 0
        self._path = path
        self._form = form
        self._most_files = most_files
        self._files: list[_File] = []  # the one being read, then newer ones; empty: not open now
        self._newest = place.inode if place else -1
        self._rotated = False
        self._gap = ""

    def has_home(self) -> bool:
        """Whether the folder of the log is there: the engine removes it with the container."""
        return os.path.isdir(os.path.dirname(self._path))

    def pending(self) -> bool:
        """Whether there may be something to read: one stat.

        Raises FileNotFoundError when nothing is there to be read, LogEnded when there was and we have it all.
        """
        try:
            found = os.stat(self._path)
        except FileNotFoundError:  # in the middle of a rotation, or somebody took it away: what is open can be read
            if not self._files:
                raise
            more = len(self._files) > 1 or os.fstat(self._files[0].fd).st_size > self._offset
            if not more and not self.has_home():
                raise LogEnded from None
            return more
        self._rotated = found.st_ino != self._newest
        return self._rotated or len(self._files) > 1 or found.st_size != self._offset

    def read(self, most_bytes: int) -> Block | None:
        """The next whole records, at most so many bytes; None: no whole one is there now. Raises OSError."""
        if not self._files:
            self._find()
        elif self._rotated:
            self._extend()
        while True:
            assert self.place is not None, "finding the file sets the place"
            file, final = self._files[0], len(self._files) > 1  # a file that has a successor is not written any more
            tail = self.place.tail
            data = os.pread(file.fd, len(tail) + most_bytes, self.place.offset - len(tail))
            if not data.startswith(tail):
                self.close()
                self._find()
                continue
            data = data[len(tail) :]
            cut = self._form.end_of_records(data)
            if cut:
                return self._advance(data[:cut])
            if len(data) >= most_bytes < _LONGEST_RECORD:
                most_bytes = _LONGEST_RECORD
                continue
            if len(data) >= most_bytes:
                self._add_gap(with_bytes(UNREADABLE, len(data)))
                return self._advance(data, kept=False)
            if not final:
                return self._gap_alone()
            if data:
                self._add_gap(with_bytes(TORN, len(data)))
            self._next()

    def rest(self) -> None:
        """Give back the file of a container that says nothing, when its place is sure to be found again."""
        with suppress(FileNotFoundError):
            if len(self._files) == 1 and os.stat(self._path).st_ino == self._files[0].inode:
                self.close()

    def close(self) -> None:
        """Give back all files; reading opens them again."""
        _close(self._files)
        self._files = []

    @property
    def _offset(self) -> int:
        return self.place.offset if self.place else -1

    def _advance(self, data: bytes, *, kept: bool = True) -> Block:
        start = self.place
        assert start is not None
        tail = (start.tail + data)[-_TAIL_BYTES:] if len(data) < _TAIL_BYTES else data[-_TAIL_BYTES:]
        self.place = Place(start.inode, start.offset + len(data), tail)
        gap, self._gap = self._gap, ""
        return Block(data if kept else b"", start, self.place, gap)

    def _gap_alone(self) -> Block | None:
        return self._advance(b"") if self._gap else None

    def _add_gap(self, text: str) -> None:
        if text not in self._gap:
            self._gap = f"{self._gap}; {text}" if self._gap else text

    def _next(self) -> None:
        """On to the next newer file."""
        os.close(self._files.pop(0).fd)
        self._add_gap(self._files[0].gap)
        self.place = Place(self._files[0].inode, 0)

    def _find(self) -> None:
        """Open the file that holds the place, and all newer ones. Without one, what is newer than the last line."""
        with self._opened() as files:
            if not files:
                raise FileNotFoundError(self._path)
            index = 0
            if self.place is None:
                if 1 < self._most_files <= len(files):
                    self._add_gap(NEVER_READ)
            else:
                held = [number for number, file in enumerate(files) if _holds(file, self.place)]
                same = [number for number in held if files[number].inode == self.place.inode]
                index = (same or held)[-1] if held else self._after_loss(files, self.place)
            self._files = files[index:]
        _close(files[:index])
        self._newest, self._rotated = files[-1].inode, False
        offset, tail = (0, b"") if self.place is None else self.place[1:]
        self.place = Place(self._files[0].inode, offset, tail)

    def _after_loss(self, files: list[_File], place: Place) -> int:
        """The oldest file that starts behind the last line read; older ones were read before."""
        cut = [os.fstat(file.fd).st_size for file in files if file.inode == place.inode]
        if cut and cut[0] < place.offset:
            self._add_gap(CUT.format(was=place.offset, now=cut[0]))
        else:
            self._add_gap(ROTATED)
        index = next((n for n, file in enumerate(files) if self._starts_ns(file) >= self.last_ns), len(files) - 1)
        self.place = None
        return index

    def _starts_ns(self, file: _File) -> float:
        data = os.pread(file.fd, 256 * 1024, 0)
        data = data[: self._form.end_of_records(data)]
        return next((float(record.at_ns) for record in self._form.records(data)), float("inf"))

    def _extend(self) -> None:
        """The engine has rotated: hold on to the new files before it rotates again."""
        known = {file.inode for file in self._files}
        with self._opened() as files:
            if files and self._files[-1].inode not in {file.inode for file in files}:
                seen = 0
                files[0] = files[0]._replace(gap=ROTATED)
            else:
                seen = 1 + max((n for n, file in enumerate(files) if file.inode in known), default=-1)
            self._files += files[seen:]
        _close(files[:seen])
        self._newest, self._rotated = self._files[-1].inode, False
        while len(self._files) > max(2, self._most_files) + _MOST_HELD:
            self._add_gap(with_bytes(ROTATED, os.fstat(self._files[0].fd).st_size - self._offset))
            self._next()

    @contextmanager
    def _opened(self) -> Iterator[list[_File]]:
        """All files of the log, oldest first, each once; from new to old, as a rotation under way moves them.

        They are closed again when one can't be opened, or when the caller fails.
        """
        found: dict[int, _File] = {}
        try:
            for number in range(self._most_files or _MOST_UNKNOWN):
                with suppress(FileNotFoundError):
                    fd = os.open(f"{self._path}.{number}" if number else self._path, os.O_RDONLY | os.O_CLOEXEC)
                    inode = os.fstat(fd).st_ino
                    if inode in found:
                        os.close(fd)
                    else:
                        found[inode] = _File(fd, inode)
            yield list(reversed(found.values()))
        except BaseException:
            _close(found.values())
            raise


def _close(files: Iterable[_File]) -> None:
    for file in files:
        os.close(file.fd)


def _holds(file: _File, place: Place) -> bool:
    """Whether the place is in this file."""
    if not place.tail:
        return file.inode == place.inode
    if os.fstat(file.fd).st_size < place.offset:
        return False
    return os.pread(file.fd, len(place.tail), place.offset - len(place.tail)) == place.tail
