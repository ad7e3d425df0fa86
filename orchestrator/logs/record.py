"""What the readers of log files have in common: records as values, and lines joined of records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

Line = tuple[int, int, bytes]  # (at_ns, stream, message) as in `lines.Batch`
TIMES = range(1, 2**63)  # of lines, as far as the store goes: until 2262; any other stamp is as good as none
LONGEST_LINE = 1024 * 1024  # bytes; a longer line becomes several of at most this

Mark = TypeVar("Mark")  # a place in a log, of whatever kind


class Record(NamedTuple):
    """One entry of a log file. `whole`: the line ends with it; `size`: the bytes it takes in the file."""

    at_ns: int
    stream: int
    message: bytes
    whole: bool
    size: int


class LogFormat(Protocol):
    """How a log driver writes its file."""

    def end_of_records(self, block: bytes) -> int:
        """How far whole records go in a block that starts with one."""

    def lines(self, block: bytes) -> list[Line] | None:
        """The fast way: all lines of a block of whole records; None when `records` must be asked."""

    def records(self, block: bytes) -> Iterable[Record]:
        """Every record of a block of whole records."""


class Skip(NamedTuple):
    """What to leave out behind a mark, as it is out already.

    `lines`: so many. `held` bytes of the first of `stream` stand before the mark: they count for where it is cut.
    """

    lines: int = 0
    stream: int = 0
    held: int = 0


NONE = Skip()


@dataclass
class _Open(Generic[Mark]):
    at_ns: int
    message: bytearray
    start: Mark  # where its first record stands
    lines_before: int  # lines that were finished when it began
    beside: Skip  # the other stream's line, if one was open then
    held: int = 0  # bytes of it before `start`

    @property
    def size(self) -> int:
        return self.held + len(self.message)


class Joiner(Generic[Mark]):
    """Lines of records, and from where to read on so that no half line is lost.

    Example: records at 0: "a" (half), 10: "x\\n" of the other stream. The line x is out, but reading on from 20
    would lose the half line: `resume(20)` is 0 and to skip the one line that is out already.

    A line of stderr may begin in the middle of a long one of stdout, which is cut at a megabyte, is out then, and goes
    on. Read again from there it must be cut at the same place, or what is skipped would be more than what is out: so
    `resume` also tells how much of stdout's line stood before. `skip` is what it told.
    """

    def __init__(self, skip: Skip = NONE) -> None:
        self._open: dict[int, _Open[Mark]] = {}  # by stream
        self._finished = 0
        self._before = {skip.stream: skip.held} if skip.held else {}

    @property
    def idle(self) -> bool:
        """Nothing waits for its end."""
        return not self._open and not self._before

    def join(self, records: Iterable[Record], marks: Iterable[Mark]) -> Iterator[Line]:
        """The lines that end in these records; `marks`: where each record starts."""
        for record, mark in zip(records, marks, strict=True):
            held = self._open.get(record.stream)
            before = 0 if held else self._before.pop(record.stream, 0)
            if record.whole and held is None:
                line = record[:3]
            else:
                if held is None:
                    held = _Open(record.at_ns, bytearray(), mark, self._finished, self._beside(), before)
                    self._open[record.stream] = held
                held.message += record.message
                if not record.whole and held.size < LONGEST_LINE:
                    continue
                del self._open[record.stream]
                line = (held.at_ns, record.stream, bytes(held.message))
            self._finished += 1
            yield line

    def _beside(self) -> Skip:
        """What is open while another stream's line begins."""
        sizes = self._before | {stream: held.size for stream, held in self._open.items()}
        return next((Skip(0, stream, size) for stream, size in sizes.items()), NONE)

    def resume(self, here: Mark) -> tuple[Mark, Skip]:
        """Where to read on from after a restart, and what to leave out there, having read up to `here`."""
        if not self._open:
            return here, NONE
        first = min(self._open.values(), key=lambda held: held.lines_before)
        return first.start, first.beside._replace(lines=self._finished - first.lines_before)

    def finish(self) -> list[Line]:
        """The log has ended: what waited for a line end is a line."""
        lines = [(held.at_ns, stream, bytes(held.message)) for stream, held in self._open.items()]
        self._finished += len(lines)
        self._open.clear()
        return sorted(lines)
