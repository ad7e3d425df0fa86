"""Running containers of an engine in memory, their logs, and a collector of these: by its files or by its streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.actions import Remove
from orchestrator.engine.base import ContainerConfig, LogSource
from orchestrator.engine.fake import FakeEngine
from orchestrator.jobs import Job
from orchestrator.reconciler import Following
from tests.support.log_files import EngineLog, MemoryLogs
from worker.log_collector import LogCollector

REF = "registry.example/web:1"


@dataclass
class Scene:
    """Running containers, a store, and a collector that can be started anew. With `folder` their logs are files."""

    engine: FakeEngine
    store: MemoryLogs
    collector: LogCollector
    folder: Path | None
    containers: list[str] = field(default_factory=list)
    logs: dict[str, EngineLog] = field(default_factory=dict)

    @property
    def container(self) -> str:
        return self.containers[0]

    def add(self) -> str:
        name = f"skylark-{len(self.containers)}"
        container = self.engine.create_container(ContainerConfig(name, self.engine.pull(REF).image_id, {}))
        self.engine.start_container(container)
        self.containers.append(container)
        if self.folder is not None:
            path = self.folder / container / "x-json.log"
            self.logs[container] = EngineLog(path, max_bytes=20_000, max_files=3)
            self.engine.world.containers[container].log_source = LogSource("json-file", str(path), 3)
        return container

    def restart(self) -> None:
        """A new worker's collector on the same store."""
        self.collector.stop()
        self.collector = self.another()

    def another(self, leads: Callable[[], bool] = lambda: True) -> LogCollector:
        """A worker's collector beside the present one; to be stopped by the caller."""
        collector = LogCollector(self.store, {"e": self.engine}, may_write=leads)
        collector.start()
        return collector

    def follow(self, *containers: str, complete: bool = True) -> None:
        named = [Following("e", "s", "i", c) for c in containers or self.containers]
        self.collector.follow(named, complete=complete)

    def drain(self, container: str = "") -> None:
        container = container or self.container
        job = Job("i", "s", "ns/web", 1, Remove("i", 0, "ended"), self.engine, "i", container)
        self.collector.drain(job, container)

    def write(self, *numbers: int, container: str = "") -> None:
        container = container or self.container
        for number in numbers:
            if self.logs:
                self.logs[container].number(number)
            else:
                self.engine.write_log(container, b"%d" % number)


@contextmanager
def log_scene(folder: Path | None) -> Iterator[Scene]:
    """One container and a collector that has been started; all is ended behind it."""
    engine, store = FakeEngine("test"), MemoryLogs()
    engine.world.push(REF)
    collector = LogCollector(store, {"e": engine})
    made = Scene(engine, store, collector, folder)
    made.add()
    collector.start()
    yield made
    made.collector.stop()
    engine.close()
