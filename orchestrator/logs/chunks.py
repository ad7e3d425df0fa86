"""Chunks: runs of lines of one source, packed small, and unpacked only as far as a question needs. Pure."""

from __future__ import annotations

import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise
from operator import sub

from orchestrator.logs.search import Needle

HOUR_NS = 3_600_000_000_000
MOST_LINES = 4096
MOST_TEXT_BYTES = 256 * 1024  # a longer line is a chunk of its own
CLOCK_STEP_NS = 600_000_000_000  # a time further back than this is no disorder: somebody has set the clock

_LEVEL = 1
_PLAIN_BYTES = 100  # below this zlib's own bytes and time are not worth it
_PLAIN = b"\x00"  # first byte of what is not compressed; zlib's own first byte is 0x78
_HEAD = struct.Struct("<IIcc")  # lines, runs, type of time differences, type of lengths
_RUN = struct.Struct("<QI")

Line = tuple[int, int, bytes]
Run = tuple[int, int]  # first arrival number, count: lines that arrived behind one another


@dataclass(frozen=True, slots=True)
class Packed:
    """A chunk as stored. Its lines are ordered by (time, arrival); all lie in one hour (UTC)."""

    min_ns: int
    max_ns: int
    first_seq: int
    last_seq: int
    lines: int
    text_bytes: int
    head: bytes
    text: bytes


class Chunk:
    """An unpacked chunk. `times` and `seqs` tell each line's key; the text is unpacked when first asked for.

    Bytes that are not what was packed raise whatever they lead to: zlib.error, struct.error, ValueError, ...
    """

    def __init__(self, min_ns: int, head: bytes, text: bytes) -> None:
        raw = _unpack(head)
        count, runs, time_type, length_type = _HEAD.unpack_from(raw)
        at = _HEAD.size
        self.runs: list[Run] = list(_RUN.iter_unpack(raw[at : at + runs * _RUN.size]))
        at += runs * _RUN.size
        steps, at = _take(raw, at, time_type, count)
        lengths, at = _take(raw, at, length_type, count)
        self.times: list[int] = list(accumulate(chain((min_ns + steps[0],), steps[1:])))
        self.offsets: list[int] = list(accumulate(lengths, initial=0))
        self.streams: bytes = raw[at : at + count]
        self._text = text
        if at + count != len(raw) or sum(each for _, each in self.runs) != count:
            raise ValueError("the parts of its head do not belong together")

    @property
    def first(self) -> tuple[int, int]:
        """The key of its first line: its time and number."""
        return self.times[0], self.seqs[0]

    @property
    def last(self) -> tuple[int, int]:
        """The key of its last line."""
        return self.times[-1], self.seqs[-1]

    @cached_property
    def text(self) -> bytes:
        """All messages, one behind the other."""
        text = _unpack(self._text)
        if len(text) != self.offsets[-1]:
            raise ValueError("its text is not as long as its lines")
        return text

    @cached_property
    def seqs(self) -> Sequence[int]:
        """Arrival numbers, one a line."""
        if len(self.runs) == 1:
            return range(self.runs[0][0], self.runs[0][0] + self.runs[0][1])
        return [seq for first, count in self.runs for seq in range(first, first + count)]

    @cached_property
    def words(self) -> str | None:
        """The text as a string, where bytes and characters are at the same places; else None."""
        return self.text.decode("ascii") if self.text.isascii() else None

    def messages(self, indexes: Sequence[int]) -> Iterator[str]:
        """The messages of some lines; bytes that are no UTF-8 are replaced."""
        starts, ends = pick(self.offsets, indexes), pick(self.offsets, indexes, further=1)
        if self.words is not None:
            return map(self.words.__getitem__, map(slice, starts, ends))
        return (self.text[start:end].decode("utf-8", "replace") for start, end in zip(starts, ends, strict=True))

    def message(self, index: int) -> bytes:
        """One line's message."""
        return self.text[self.offsets[index] : self.offsets[index + 1]]

    def lines(self) -> Iterator[Line]:
        """All lines as they came in."""
        for index, at_ns in enumerate(self.times):
            yield at_ns, self.streams[index], self.message(index)

    def select(self, after: tuple[int, int], end_ns: int, stream: int | None, needle: Needle | None) -> Sequence[int]:
        """Indexes of the lines with a key behind `after`, not later than `end_ns`, that the filters let through."""
        low = bisect_left(self.times, after[0])
        while low < len(self.times) and (self.times[low], self.seqs[low]) <= after:
            low += 1
        high = bisect_right(self.times, end_ns)
        found: Sequence[int] = range(low, high)
        if stream is not None and high > low:
            found = [index for index in found if self.streams[index] == stream]
        if needle is not None and found:
            matching = set(needle.lines(self.text, self.offsets))
            found = [index for index in found if index in matching]
        return found


def pick(values: Sequence[int], indexes: Sequence[int], *, further: int = 0) -> Sequence[int]:
    """The values at some indexes, or that much further; a slice, where these are a range."""
    if isinstance(indexes, range):
        return values[indexes.start + further : indexes.stop + further]
    return [values[index + further] for index in indexes]


def pack(lines: Sequence[Line], runs: Sequence[Run]) -> Packed:
    """Lines of one source and one hour, in order of (time, arrival)."""
    times, streams, messages = zip(*lines, strict=True)
    return _pack(times, streams, list(map(len, messages)), b"".join(messages), runs)


def cut(times: Sequence[int], lines: Sequence[Line], first_seq: int) -> Iterator[Packed]:
    """Lines, with ascending `times` to be used in place of their own, as chunks; numbered from `first_seq` on."""
    _, streams, messages = zip(*lines, strict=True)
    lengths = list(map(len, messages))
    ends = list(accumulate(lengths, initial=0))
    start = 0
    while start < len(times):
        end = bisect_left(times, (times[start] // HOUR_NS + 1) * HOUR_NS, start)
        end = min(end, start + MOST_LINES, bisect_right(ends, ends[start] + MOST_TEXT_BYTES) - 1)
        end = max(end, start + 1)
        runs = [(first_seq + start, end - start)]
        text = b"".join(messages[start:end])
        yield _pack(times[start:end], streams[start:end], lengths[start:end], text, runs)
        start = end


def ordered(lines: Sequence[Line], latest_ns: int | None) -> list[tuple[list[int], Sequence[Line], bool]]:
    """Lines of a container as spans of times that never go back: (times, lines, whether the clock was set back before).

    A line a little older than its predecessor (two streams are stamped side by side) gets the predecessor's time.
    Example, with a step limit of 10: 5, 7, 6, 8 are one span 5, 7, 7, 8; 50, 20, 21 are two, 50 and 20, 21.
    """
    given = [line[0] for line in lines]
    held = list(accumulate(given, max, initial=given[0] if latest_ns is None else latest_ns))[1:]
    if held == given or max(map(sub, held, given)) <= CLOCK_STEP_NS:
        return [(held, lines, False)]
    spans: list[tuple[list[int], Sequence[Line], bool]] = []
    times: list[int] = []
    stepped, latest = False, given[0] if latest_ns is None else latest_ns
    for index, at_ns in enumerate(given):
        if at_ns < latest - CLOCK_STEP_NS:
            if times:
                spans.append((times, lines[index - len(times) : index], stepped))
            times, stepped, latest = [], True, at_ns
        latest = max(latest, at_ns)
        times.append(latest)
    return [*spans, (times, lines[len(given) - len(times) :], stepped)]


def merge(chunks: Sequence[Chunk]) -> Packed:
    """Chunks of one source and hour as one, every line with its key of before."""
    if all(one.last < other.first for one, other in pairwise(chunks)):
        return _joined(chunks)
    keyed = sorted(
        (at_ns, seq, stream, chunk.message(index))
        for chunk in chunks
        for index, (at_ns, seq, stream) in enumerate(zip(chunk.times, chunk.seqs, chunk.streams, strict=True))
    )
    runs: list[Run] = []
    for _, seq, _, _ in keyed:
        if runs and sum(runs[-1]) == seq:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((seq, 1))
    return pack([(at_ns, stream, message) for at_ns, _, stream, message in keyed], runs)


def _joined(chunks: Sequence[Chunk]) -> Packed:
    """Chunks that follow upon one another: nothing to sort, and the texts are not taken apart."""
    runs: list[Run] = []
    for first, count in (run for chunk in chunks for run in chunk.runs):
        if runs and sum(runs[-1]) == first:
            runs[-1] = (runs[-1][0], runs[-1][1] + count)
        else:
            runs.append((first, count))
    times = [at_ns for chunk in chunks for at_ns in chunk.times]
    lengths = [length for chunk in chunks for length in map(sub, chunk.offsets[1:], chunk.offsets)]
    return _pack(times, b"".join(c.streams for c in chunks), lengths, b"".join(c.text for c in chunks), runs)


def _pack(
    times: Sequence[int], streams: Sequence[int], lengths: Sequence[int], text: bytes, runs: Sequence[Run]
) -> Packed:
    steps = [0, *map(sub, times[1:], times)]
    time_type = "I" if max(steps) < 2**32 else "Q"
    length_type = "H" if max(lengths) < 2**16 else "I"
    head = b"".join(
        (
            _HEAD.pack(len(times), len(runs), time_type.encode(), length_type.encode()),
            *(_RUN.pack(*run) for run in runs),
            array(time_type, steps).tobytes(),
            array(length_type, lengths).tobytes(),
            bytes(streams),
        )
    )
    last_seq = max(first + count - 1 for first, count in runs)
    first_seq = min(first for first, _ in runs)
    return Packed(times[0], times[-1], first_seq, last_seq, len(times), len(text), _squeeze(head), _squeeze(text))


def _squeeze(raw: bytes) -> bytes:
    return _PLAIN + raw if len(raw) < _PLAIN_BYTES else zlib.compress(raw, _LEVEL)


def _unpack(stored: bytes) -> bytes:
    return stored[1:] if stored[:1] == _PLAIN else zlib.decompress(stored)


def _take(raw: bytes, at: int, kind: bytes, count: int) -> tuple[array[int], int]:
    numbers = array(kind.decode())
    end = at + count * numbers.itemsize
    numbers.frombytes(raw[at:end])
    return numbers, end
