"""Reads one log file into a store in memory, as the collector does, a bite at a time."""

from __future__ import annotations

from orchestrator.engine.fake import FakeEngine
from orchestrator.logs.limit import LineLimit
from orchestrator.logs.position import read_position
from orchestrator.reconciler import Following
from tests.support.log_files import EngineLog, MemoryLogs
from worker.log_source import FileSource
from worker.log_track import Track


class Reader:
    """Reads one log file into a store in memory; `restart` is a worker killed and started anew."""

    def __init__(self, log: EngineLog, per_second: int = 10**9) -> None:
        self.store = MemoryLogs()
        self.limit = LineLimit(per_second)
        self._log = log
        self.restart()

    def restart(self) -> None:
        position = read_position(self.store.position("c"))
        self.source = FileSource(str(self._log.path), "json-file", self._log.max_files, position)
        self.track = Track(Following("e", "s", "i", "c"), FakeEngine("test"), self.limit)
        self.track.open(self.source, position)

    def bite(self, most_bytes: int = 256 * 1024, now: float = 0.0) -> bool:
        batch = self.track.collect(most_bytes, now)
        if batch is not None:
            self.store.append([batch])
        return batch is not None

    def read(self) -> None:
        while self.bite():
            pass

    def finish(self) -> None:
        self.read()
        batch = self.track.finish(0.0)
        if batch is not None:
            self.store.append([batch])
