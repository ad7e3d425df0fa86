"""The engine's `local` log taken apart: frames of protocol buffers, each between its length written twice. Pure.

A frame: length (4 bytes, big endian), the entry, the length again. Of the entry: 1 stream's name, 2 time in
nanoseconds, 3 the message without its line end, 4 whether it is part of a longer line, 5 which part: (1 last or not).
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.logs.lines import STDERR, STDOUT, SYSTEM
from orchestrator.logs.record import Line, Record

_LENGTH = 4
_VARINT, _BYTES = 0, 2  # wire types


class LocalFile:
    """A reader of such blocks. It keeps nothing; the name is the log driver's."""

    def end_of_records(self, block: bytes) -> int:
        """How far whole frames go."""
        at = 0
        while at + _LENGTH <= len(block):
            behind = at + 2 * _LENGTH + int.from_bytes(block[at : at + _LENGTH], "big")
            if behind > len(block):
                break
            at = behind
        return at

    def lines(self, block: bytes) -> list[Line] | None:
        """The lines of a block of whole frames; None when one is a part: then ask `records`."""
        found: list[Line] = []
        for record in self.records(block):
            if not record.whole:
                return None
            found.append(record[:3])
        return found

    def records(self, block: bytes) -> Iterator[Record]:
        """Every entry of a block of whole frames, with its size in the file."""
        at = 0
        while at + _LENGTH <= len(block):
            length = int.from_bytes(block[at : at + _LENGTH], "big")
            size = length + 2 * _LENGTH
            yield _record(block[at + _LENGTH : at + _LENGTH + length], size)
            at += size


def _record(entry: bytes, size: int) -> Record:
    stream, at_ns, message, partial, last = STDOUT, 0, b"", 0, 0
    try:
        for number, value in _fields(entry):
            if number == 1:
                stream = STDERR if value == b"stderr" else STDOUT
            elif number == 2 and isinstance(value, int):
                at_ns = value
            elif number == 3 and isinstance(value, bytes):
                message = value
            elif number == 4 and isinstance(value, int):
                partial = value
            elif number == 5 and isinstance(value, bytes):
                last = next((int(v) for n, v in _fields(value) if n == 1 and isinstance(v, int)), 0)
    except (IndexError, ValueError):
        return Record(0, SYSTEM, b"a damaged record of the engine's log was left out: %d bytes" % size, True, size)
    return Record(at_ns, stream, message, not partial or bool(last), size)


def _fields(entry: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field. Raises IndexError or ValueError when it is no such message."""
    at = 0
    while at < len(entry):
        key, at = _varint(entry, at)
        value, at = _varint(entry, at)
        if key & 7 == _VARINT:
            yield key >> 3, value
        elif key & 7 == _BYTES:
            if at + value > len(entry):
                raise ValueError("field longer than its message")
            yield key >> 3, entry[at : at + value]
            at += value
        else:
            raise ValueError("unknown wire type")


def _varint(entry: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = entry[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
