"""The log collector on an engine in memory: every line once, whatever breaks off in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.actions import Remove
from orchestrator.engine.base import ContainerConfig, LogLine
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.engine.fake import FakeEngine
from orchestrator.jobs import Job
from orchestrator.logs.store import LogStore, LogStoreFull
from orchestrator.reconciler import Following
from tests.support.poll import eventually
from worker import line_writer, log_collector
from worker.log_collector import LogCollector

REF = "registry.example/web:1"


@dataclass
class Scene:
    """A running container, a store, and a collector that can be started anew."""

    engine: FakeEngine
    store: LogStore
    container: str
    collector: LogCollector

    def restart(self, engine: Any = None) -> None:
        """A new worker's collector on the same store."""
        self.collector.stop()
        self.collector = LogCollector(self.store, {"e": engine or self.engine})
        self.collector.start()

    def follow(self) -> None:
        self.collector.follow([Following("e", "s", "i", self.container)], complete=True)

    def job(self, engine: Any = None) -> Job:
        return Job("i", "s", "ns/web", 1, Remove("i", 0, "ended"), engine or self.engine, "i", self.container)

    def write(self, *numbers: int) -> None:
        for number in numbers:
            self.engine.write_log(self.container, str(number).encode())

    def stored(self) -> list[int]:
        return [int(line.message) for line in self.store.read("s", 0, 2**62)]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(log_collector, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(line_writer, "_RETRY_SECONDS", 0.02)
    engine = FakeEngine("test")
    engine.world.push(REF)
    container = engine.create_container(ContainerConfig("skylark-i", engine.pull(REF).image_id, {}))
    engine.start_container(container)
    store = LogStore(tmp_path / "lines.sqlite")
    made = Scene(engine, store, container, LogCollector(store, {"e": engine}))
    made.collector.start()
    yield made
    made.collector.stop()
    engine.close()
    store.close()


def test_lines_are_copied_as_they_come(scene: Scene) -> None:
    scene.write(1, 2)
    scene.follow()
    eventually(lambda: scene.stored() == [1, 2])
    scene.write(3)
    eventually(lambda: scene.stored() == [1, 2, 3])


def test_following_again_and_again_copies_every_line_once(scene: Scene) -> None:
    for number in range(20):
        scene.write(number)
        scene.follow()
    eventually(lambda: len(scene.stored()) >= 20)

    assert scene.stored() == list(range(20))


def test_restarted_collector_goes_on_where_the_store_is(scene: Scene) -> None:
    for round_ in range(5):
        scene.write(*range(round_ * 10, round_ * 10 + 10))
        scene.follow()
        eventually(lambda: scene.stored())
        scene.restart()
    scene.follow()
    scene.write(99)
    eventually(lambda: 99 in scene.stored())

    assert scene.stored() == [*range(50), 99]


def test_stream_that_breaks_off_is_followed_on(scene: Scene) -> None:
    scene.engine.fail_next("logs", EngineError(Fault.UNREACHABLE, "broken pipe"), 3)
    scene.write(1)
    scene.follow()
    eventually(lambda: scene.stored() == [1])


def test_drain_stores_a_dead_containers_log_to_its_end(scene: Scene) -> None:
    scene.follow()
    scene.write(*range(100))
    scene.engine.die(scene.container)
    scene.collector.drain(scene.job(), scene.container)

    assert scene.stored() == list(range(100))


def test_drain_of_a_container_that_was_never_followed_stores_all(scene: Scene) -> None:
    scene.write(1, 2, 3)
    scene.engine.die(scene.container)
    scene.collector.drain(scene.job(), scene.container)
    scene.collector.drain(scene.job(), scene.container)

    assert scene.stored() == [1, 2, 3]


def test_drain_fails_and_loses_nothing_while_the_engine_does_not_give_the_log(scene: Scene) -> None:
    scene.write(1)
    scene.engine.die(scene.container)
    scene.engine.fail_next("logs", EngineError(Fault.TIMEOUT, "slow"))
    with pytest.raises(EngineError):
        scene.collector.drain(scene.job(), scene.container)

    scene.collector.drain(scene.job(), scene.container)
    assert scene.stored() == [1]


class Full:
    """The store, with no room while `full`."""

    def __init__(self, store: LogStore) -> None:
        self.full = True
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, batch: Any) -> None:
        if self.full:
            raise LogStoreFull("log store: no room")
        self._store.append(batch)


def full_scene(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Full:
    monkeypatch.setattr(log_collector, "_DRAIN_SECONDS", 0.2)
    scene.collector.stop()
    full = Full(scene.store)
    scene.collector = LogCollector(full, {"e": scene.engine})  # type: ignore[arg-type]
    scene.collector.start()
    return full


def test_full_store_keeps_the_container_and_recovers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    full = full_scene(scene, monkeypatch)
    scene.write(1, 2, 3)
    scene.follow()
    scene.engine.die(scene.container)
    for _ in range(3):
        with pytest.raises(EngineError, match="the container is kept"):
            scene.collector.drain(scene.job(), scene.container)

    full.full = False
    scene.collector.drain(scene.job(), scene.container)
    assert scene.stored() == [1, 2, 3]


def test_stream_that_breaks_off_while_the_store_is_full_doubles_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines wait in the queue, unstored, when the engine's stream is opened anew."""
    full = full_scene(scene, monkeypatch)
    engine = Breaking(scene.engine)
    scene.collector._engines = {"e": engine}  # type: ignore[dict-item]
    scene.write(1, 2, 3)
    scene.follow()
    eventually(lambda: engine.broken)
    threading.Event().wait(0.6)
    full.full = False
    eventually(lambda: scene.stored())
    scene.write(4)
    eventually(lambda: 4 in scene.stored())

    assert scene.stored() == [1, 2, 3, 4]


class Breaking:
    """The engine, whose first log stream breaks off after three lines."""

    def __init__(self, engine: FakeEngine) -> None:
        self.broken = False
        self._engine = engine

    def logs(self, container_id: str, **options: Any) -> Iterator[LogLine]:
        for count, line in enumerate(self._engine.logs(container_id, **options), 1):
            yield line
            if count == 3 and not self.broken:
                self.broken = True
                raise EngineError(Fault.UNREACHABLE, "broken pipe")


def test_container_that_is_gone_ends_its_following(scene: Scene) -> None:
    scene.engine.take_away(scene.container)
    scene.follow()
    name = f"log {scene.container[:12]}"
    eventually(lambda: name not in {thread.name for thread in threading.enumerate()})


def test_ended_containers_are_forgotten_when_no_pass_names_them_any_more(scene: Scene) -> None:
    scene.follow()
    scene.engine.die(scene.container)
    scene.collector.drain(scene.job(), scene.container)
    scene.collector.follow([], complete=False)
    assert scene.collector._tracks
    scene.collector.follow([], complete=True)

    assert not scene.collector._tracks
