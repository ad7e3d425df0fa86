"""The log collector on an engine in memory, by its files and by its streams: every line once, whatever breaks off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.base import LogLine
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.engine.fake import FakeEngine
from orchestrator.reconciler import Following
from tests.support.log_files import EngineLog
from tests.support.log_scene import Scene, log_scene
from tests.support.poll import eventually
from worker import log_collector, log_storing, log_streams
from worker.log_collector import LogCollector


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_collector, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(log_collector, "_GONE_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(log_storing, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(log_streams, "_RETRY_SECONDS", 0.02)


@pytest.fixture(params=["files", "streams"])
def scene(tmp_path: Path, fast: None, request: pytest.FixtureRequest) -> Iterator[Scene]:
    with log_scene(tmp_path if request.param == "files" else None) as made:
        yield made


def test_lines_are_collected_as_they_come(scene: Scene) -> None:
    scene.write(1, 2)
    scene.follow()
    eventually(lambda: scene.store.numbers() == [1, 2])
    scene.write(3)
    eventually(lambda: scene.store.numbers() == [1, 2, 3])


def test_following_again_and_again_collects_every_line_once(scene: Scene) -> None:
    for number in range(20):
        scene.write(number)
        scene.follow()
    eventually(lambda: len(scene.store.numbers()) >= 20)

    assert scene.store.numbers() == list(range(20))


def test_restarted_collector_goes_on_where_the_store_is(scene: Scene) -> None:
    for round_ in range(5):
        scene.write(*range(round_ * 10, round_ * 10 + 10))
        scene.follow()
        eventually(lambda: scene.store.numbers())
        scene.restart()
    scene.follow()
    scene.write(99)
    eventually(lambda: 99 in scene.store.numbers())

    assert scene.store.numbers() == [*range(50), 99]


def test_drain_stores_a_dead_containers_log_to_its_end(scene: Scene) -> None:
    scene.follow()
    scene.write(*range(100))
    scene.engine.die(scene.container)
    scene.drain()

    assert scene.store.numbers() == list(range(100))


def test_drain_of_a_container_that_was_never_followed_stores_all(scene: Scene) -> None:
    scene.write(1, 2, 3)
    scene.engine.die(scene.container)
    scene.drain()
    scene.drain()

    assert scene.store.numbers() == [1, 2, 3]


def test_full_store_keeps_the_container_and_recovers(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_collector, "_DRAIN_SECONDS", 0.3)
    scene.store.full = True
    scene.write(1, 2, 3)
    scene.follow()
    scene.engine.die(scene.container)
    for _ in range(3):
        with pytest.raises(EngineError, match="the container is kept") as caught:
            scene.drain()
    assert caught.value.fault is Fault.NO_SPACE
    scene.store.full = False
    eventually(lambda: scene.store.numbers())
    scene.drain()

    assert scene.store.numbers() == [1, 2, 3]


def test_full_store_is_told_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.store.full = True
    scene.write(1)
    scene.follow()
    eventually(lambda: "collection waits" in caplog.text)
    threading.Event().wait(0.2)
    scene.store.full = False
    eventually(lambda: scene.store.numbers() == [1])

    assert caplog.text.count("collection waits") == 1


def test_container_that_is_gone_ends_its_following_and_leaves_no_position(scene: Scene) -> None:
    scene.write(1)
    scene.follow()
    eventually(lambda: scene.store.numbers() == [1])
    gone = scene.container
    other = scene.add()
    scene.engine.take_away(gone)
    if scene.folder is not None:
        scene.logs[gone].path.unlink()
        scene.logs[gone].path.parent.rmdir()
    scene.write(2, container=other)

    def forgotten() -> bool:
        scene.follow(other)
        return set(scene.store.positions) == {other}

    eventually(forgotten)
    assert set(scene.collector._tracks) == {other}


def test_removed_container_is_forgotten_and_one_that_is_still_there_is_not(scene: Scene) -> None:
    scene.write(1)
    scene.engine.die(scene.container)
    scene.drain()
    other = scene.add()
    scene.write(2, container=other)
    for _ in range(5):
        scene.follow(other)  # the removal is under way
    eventually(lambda: len(scene.store.positions) == 2)
    scene.engine.remove_container(scene.container)

    def forgotten() -> bool:
        scene.follow(other)
        return set(scene.store.positions) == {other}

    eventually(forgotten)
    assert scene.store.numbers() == [1, 2]


def test_released_collector_leaves_everything_to_the_next(scene: Scene) -> None:
    scene.write(1)
    scene.follow()
    eventually(lambda: scene.store.numbers() == [1])
    scene.collector.release()
    next_one = LogCollector(scene.store, {"e": scene.engine})
    next_one.start()
    next_one.follow([Following("e", "s", "i", scene.container)], complete=True)
    scene.write(2)
    eventually(lambda: 2 in scene.store.numbers())
    next_one.stop()

    assert scene.store.numbers() == [1, 2]


def test_log_that_cannot_be_read_now_keeps_its_container(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_collector, "_DRAIN_SECONDS", 0.3)
    scene.write(1)
    scene.engine.die(scene.container)
    scene.engine.fail_next("log_source", EngineError(Fault.TIMEOUT, "slow"))
    with pytest.raises(EngineError, match="slow"):
        scene.drain()
    scene.drain()

    assert scene.store.numbers() == [1]


@pytest.mark.parametrize("scene", ["files"], indirect=True)
def test_flood_does_not_starve_the_others(scene: Scene) -> None:
    """The quiet one's line is stored long before the flood is through."""
    quiet = scene.add()
    flood = scene.logs[scene.container]
    flood._max_bytes = 1 << 40
    for number in range(30_000):
        flood.number(number)
    scene.write(1, container=quiet)
    scene.follow()
    eventually(lambda: len(scene.store.numbers()) > 30_000, 30)

    order = [batch.container_id for batch in scene.store.batches if batch.lines]
    assert order.index(quiet) < len(order) // 2
    assert scene.store.numbers(scene.container) == list(range(30_000))


@pytest.mark.parametrize("scene", ["files"], indirect=True)
def test_half_line_of_a_dead_container_is_stored_by_the_drain(scene: Scene) -> None:
    scene.follow()
    scene.logs[scene.container].say(b"12", end=b"")
    scene.engine.die(scene.container)
    scene.drain()

    assert scene.store.numbers() == [12]


@pytest.mark.parametrize("scene", ["files"], indirect=True)
def test_log_file_taken_away_is_told_once_and_read_on_when_there_is_a_new_one(scene: Scene) -> None:
    log = scene.logs[scene.container]
    log.path.unlink()
    scene.follow()
    eventually(lambda: scene.store.told())
    log.close()
    scene.logs[scene.container] = EngineLog(log.path)
    scene.write(7)
    eventually(lambda: scene.store.numbers() == [7])

    assert scene.store.told()[0] == "lines may be missing: the engine's log file is gone"
    assert len(scene.store.told()) == 1


@pytest.mark.parametrize("scene", ["files"], indirect=True)
def test_drain_of_a_container_whose_log_file_is_gone_tells_it_and_ends(scene: Scene) -> None:
    scene.logs[scene.container].path.unlink()
    scene.engine.die(scene.container)
    scene.drain()

    assert scene.store.told() == ["lines may be missing: the engine's log file is gone"]


@pytest.mark.parametrize("scene", ["files"], indirect=True)
def test_one_log_that_cannot_be_read_does_not_stop_the_others(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    path = scene.logs[scene.container].path
    path.unlink()
    path.mkdir()
    other = scene.add()
    scene.write(5, container=other)
    scene.follow()
    eventually(lambda: scene.store.numbers() == [5])
    eventually(lambda: "can't be read" in caplog.text)
    scene.write(6, container=other)
    eventually(lambda: scene.store.numbers() == [5, 6])

    assert caplog.text.count("can't be read") == 1


class Breaking:
    """The engine, whose first log stream breaks off after three lines."""

    def __init__(self, engine: FakeEngine) -> None:
        self.broken = False
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def logs(self, container_id: str, **options: Any) -> Iterator[LogLine]:
        for count, line in enumerate(self._engine.logs(container_id, **options), 1):
            yield line
            if count == 3 and not self.broken:
                self.broken = True
                raise EngineError(Fault.UNREACHABLE, "broken pipe")


@pytest.mark.parametrize("scene", ["streams"], indirect=True)
def test_stream_that_breaks_off_while_the_store_is_full_doubles_nothing(scene: Scene) -> None:
    engine = Breaking(scene.engine)
    scene.collector._engines = {"e": engine}  # type: ignore[dict-item]
    scene.store.full = True
    scene.write(1, 2, 3)
    scene.follow()
    eventually(lambda: engine.broken)
    scene.store.full = False
    eventually(lambda: scene.store.numbers())
    scene.write(4)
    eventually(lambda: 4 in scene.store.numbers())

    assert scene.store.numbers() == [1, 2, 3, 4]
