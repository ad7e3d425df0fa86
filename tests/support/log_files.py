"""Log files as the engine writes and rotates them, and a log store in memory to collect into."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.logs.errors import LogStoreFull
from orchestrator.logs.lines import SYSTEM, Batch

START_NS = 1_790_000_000_000_000_000
PART_BYTES = 16 * 1024  # the engine cuts longer messages


def record(message: bytes, at_ns: int, stream: str = "stdout") -> bytes:
    """As the engine writes it: invalid UTF-8 replaced, and zeros at the end of the fraction left out."""
    fraction = f".{at_ns % 10**9:09d}".rstrip("0").rstrip(".")
    stamp = datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
    text = json.dumps(message.decode(errors="replace"))
    return f'{{"log":{text},"stream":"{stream}","time":"{stamp}"}}\n'.encode()


class EngineLog:
    """One container's json-file: rotated as the engine does it, at `max_bytes`, keeping `max_files`."""

    def __init__(self, path: Path, *, max_bytes: int = 1 << 40, max_files: int = 3) -> None:
        self.path = path
        self.max_files = max_files
        self.now_ns = START_NS
        self._max_bytes = max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def say(self, message: bytes, stream: str = "stdout", *, end: bytes = b"\n", step_ns: int = 1_000_003) -> None:
        """The container writes a line; `end` b"": without a line end."""
        self.now_ns += step_ns
        for start in range(0, max(1, len(message)), PART_BYTES):
            part = message[start : start + PART_BYTES]
            self.write(record(part + (end if start + PART_BYTES >= len(message) else b""), self.now_ns, stream))

    def number(self, *numbers: int) -> None:
        """It writes these numbers, a line each."""
        for number in numbers:
            self.say(b"%d" % number)

    def write(self, data: bytes) -> None:
        """Whole records or parts of such, as they are."""
        if self._file.tell() >= self._max_bytes:
            self.rotate()
        self._file.write(data)

    def rotate(self) -> None:
        """As the engine does: the oldest file goes, each takes the next number, a new one is begun."""
        self._file.close()
        for number in range(self.max_files - 1, 1, -1):
            if Path(f"{self.path}.{number - 1}").exists():
                os.replace(f"{self.path}.{number - 1}", f"{self.path}.{number}")
        os.replace(self.path, f"{self.path}.1")
        self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """The container has ended."""
        self._file.close()


class MemoryLogs:
    """A LogWriter that keeps everything; with no room while `full`."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.positions: dict[str, str] = {}
        self.full = False
        self._lock = threading.Lock()

    def append(self, batches: Sequence[Batch]) -> None:
        if self.full:
            raise LogStoreFull("log store: no room")
        with self._lock:
            self.batches += batches
            self.positions.update((batch.container_id, batch.position) for batch in batches)

    def position(self, container_id: str) -> str | None:
        return self.positions.get(container_id)

    def forget_container(self, container_id: str) -> None:
        self.positions.pop(container_id, None)

    def lines(self, container_id: str | None = None) -> list[tuple[int, int, bytes]]:
        with self._lock:
            batches = list(self.batches)
        return [line for batch in batches for line in batch.lines if container_id in (None, batch.container_id)]

    def messages(self, container_id: str | None = None) -> list[str]:
        """What containers said."""
        return [m.decode(errors="replace") for _, stream, m in self.lines(container_id) if stream != SYSTEM]

    def numbers(self, container_id: str | None = None) -> list[int]:
        return [int(message) for message in self.messages(container_id)]

    def told(self) -> list[str]:
        """What Skylark said."""
        return [message.decode() for _, stream, message in self.lines() if stream == SYSTEM]
