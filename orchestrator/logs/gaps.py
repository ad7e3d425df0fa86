"""What is said in a service's log where lines are missing, or may be. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

ROTATED = "lines may be missing: the engine rotated its log away before it was read"
NEVER_READ = "lines may be missing: the engine may have rotated the beginning of this log away before it was read"
CUT = "lines may be missing: its log file was cut from {was} to {now} bytes"
TORN = "lines may be missing: the engine's log file ends in a torn record"
UNREADABLE = "lines may be missing: a part of the engine's log file can't be read"
GONE = "lines may be missing: the engine's log file is gone"


def with_bytes(text: str, count: int) -> str:
    """The same with a size, when one is known."""
    return f"{text} ({count} bytes)" if count > 0 else text


def dropped(count: int, per_second: int, first_ns: int, last_ns: int) -> str:
    """For lines that a service wrote beyond its limit."""
    lines = "line" if count == 1 else "lines"
    return f"{count} {lines} dropped: more than {per_second} lines/s, {clock(first_ns)} to {clock(last_ns)}"


def dropped_count(message: bytes) -> int:
    """The `count` of a line made by `dropped`; 0 for any other."""
    words = message.split(b" ", 3)
    told = len(words) > 2 and words[1] in (b"line", b"lines") and words[2] == b"dropped:" and words[0].isdigit()
    return int(words[0]) if told else 0


def left_out(count: int, why: str) -> str:
    """For lines that the log store refuses."""
    return f"{count} {'line' if count == 1 else 'lines'} left out: the log store can't take them ({why})"


def missed(first_ns: int, last_ns: int) -> str:
    """For a followed stream that may have left lines out."""
    return f"lines may be missing between {clock(first_ns)} and {clock(last_ns)}: the engine rotated them away"


def clock(at_ns: int) -> str:
    """`2026-01-02T03:04:05.006Z`."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
