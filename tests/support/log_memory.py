"""A log store in memory: all that readers and writers of one see, kept as simply as can be."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from orchestrator.logs.errors import LogStoreError
from orchestrator.logs.lines import Batch, LogReader, LogWriter, StoredLine, Wanted, fits


class LogMemory(LogReader, LogWriter):
    """`broken`: every call fails with it. `asked`: how often `appended` was called."""

    def __init__(self, at_a_time: int = 1000) -> None:
        self.lines: list[StoredLine] = []
        self.positions: dict[str, str] = {}
        self.broken = ""
        self.asked = 0
        self.at_a_time = at_a_time
        self._lock = threading.Lock()

    def append(self, batches: Sequence[Batch]) -> None:
        self._check()
        with self._lock:
            for batch in batches:
                for at_ns, stream, message in batch.lines:
                    number, text = len(self.lines) + 1, message.decode("utf-8", "replace")
                    cursor = f"{at_ns}-{number}"
                    line = StoredLine(batch.service_uuid, batch.instance_uuid, at_ns, stream, text, cursor, number)
                    self.lines.append(line)
                self.positions[batch.container_id] = batch.position

    def position(self, container_id: str) -> str | None:
        return self.positions.get(container_id)

    def forget_container(self, container_id: str) -> None:
        self.positions.pop(container_id, None)

    def read(self, wanted: Wanted) -> Iterator[StoredLine]:
        self._check()
        at_ns, number = (int(part) for part in (wanted.after or "0-0").split("-"))
        found = sorted((line.at_ns, line.number, line) for line in list(self.lines) if fits(wanted, line))
        behind = [line for *key, line in found if key > [at_ns, number]]
        if wanted.newest and wanted.limit is not None:
            yield from behind[-wanted.limit :]
        else:
            yield from behind[: wanted.limit]

    def latest(self) -> int:
        self._check()
        return len(self.lines)

    def appended(self, after: int) -> tuple[int, Sequence[StoredLine]]:
        self.asked += 1
        self._check()
        with self._lock:
            found = self.lines[after : after + self.at_a_time]
            return after + len(found), found

    def days(self, service_uuid: str) -> Sequence[str]:
        mine = (line.at_ns // 1_000_000_000 for line in self.lines if line.service_uuid == service_uuid)
        return sorted({f"{datetime.fromtimestamp(at, UTC):%Y%m%d}" for at in mine})

    def _check(self) -> None:
        if self.broken:
            raise LogStoreError(self.broken)
