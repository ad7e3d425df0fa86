"""The engine's multiplexed log stream taken apart into lines. Pure: bytes in, `LogLine` out.

A frame is 8 bytes (stream number, three zeros, length in big endian) and one log entry, which starts with its time:
    01 00 00 00 00 00 00 25 | 2026-01-02T03:04:05.000000006Z hello\\n
A line above 16 KiB comes as several entries with one time, of which only the last ends in a line end.
"""

from __future__ import annotations

import posixpath
import re
from calendar import timegm
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from time import strptime
from typing import Any

from orchestrator.engine.base import LogLine, LogSource

_STREAMS = {0: "stdout", 1: "stdout", 2: "stderr"}
_LONGEST_LINE = 1024 * 1024  # a container that never ends its line must not fill our memory


def log_source(answer: Mapping[str, Any]) -> LogSource:
    """Where the log of an inspected container is. The engine names the file of json-file alone; `local` has its own."""
    config = answer["HostConfig"]["LogConfig"]
    driver, path = str(config["Type"]), str(answer.get("LogPath") or "")
    options = config.get("Config") or {}
    most_files = int(options.get("max-file") or {"json-file": 1, "local": 5}.get(driver, 0))
    home = posixpath.dirname(str(answer.get("HostnamePath") or ""))
    if driver == "local" and home:
        path = posixpath.join(home, "local-logs", "container.log")
    return LogSource(driver, path, most_files, most_files * size_bytes(options.get("max-size") or ""))


def size_bytes(text: str) -> int:
    """`20m` -> 20971520, as the engine reads sizes; 0 when it is none."""
    found = re.fullmatch(r"(\d+)\s*([kmgt]?)i?b?", text.strip().lower())
    return int(found[1]) * 1024 ** " kmgt".index(found[2] or " ") if found else 0


def log_lines(chunks: Iterable[bytes]) -> Iterator[LogLine]:
    """Lines out of the chunks of an answer with timestamps, in the order of the entries; stops on a torn frame."""
    started: dict[str, tuple[int, bytearray]] = {}  # by stream: the line whose end has not come yet
    for stream, entry in _frames(chunks):
        stamp, _, text = entry.partition(b" ")
        at_ns, line = started.pop(stream, (0, bytearray()))
        at_ns = at_ns or nanoseconds(stamp)
        line += text
        if line.endswith(b"\n"):
            yield LogLine(at_ns, stream, bytes(line[:-1]))
        elif len(line) >= _LONGEST_LINE:
            yield LogLine(at_ns, stream, bytes(line))
        else:
            started[stream] = (at_ns, line)
    for stream, (at_ns, line) in sorted(started.items(), key=lambda item: item[1][0]):
        yield LogLine(at_ns, stream, bytes(line))


def _frames(chunks: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Whole entries with the name of their stream."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        start = 0
        while len(buffer) - start >= 8:
            end = start + 8 + int.from_bytes(buffer[start + 4 : start + 8], "big")
            if len(buffer) < end:
                break
            yield _STREAMS.get(buffer[start], "stdout"), bytes(buffer[start + 8 : end])
            start = end
        del buffer[:start]


@lru_cache(maxsize=64)
def _second(text: str) -> int:
    return timegm(strptime(text, "%Y-%m-%dT%H:%M:%S"))


def nanoseconds(stamp: bytes) -> int:
    """Epoch nanoseconds of a stamp such as 2026-01-02T03:04:05.000000006Z; 0 when it is none.

    The seconds are parsed once for all lines of the same second: that is most of the work.
    """
    try:
        text = stamp.decode("ascii").removesuffix("Z")
        whole, _, fraction = text.partition(".")
        return _second(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or "0")
    except ValueError:
        return 0
