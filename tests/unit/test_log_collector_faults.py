"""The log collector across restarts, lost leases and a store in trouble: every line once, of everybody."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from orchestrator.engine.base import LogLine
from orchestrator.logs.lines import Batch
from orchestrator.reconciler import Following
from tests.support.log_files import PART_BYTES, record
from tests.support.log_scene import Scene, log_scene
from tests.support.poll import eventually
from worker import log_collector, log_storing, log_streams


@pytest.fixture(params=["files", "streams"])
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Scene]:
    monkeypatch.setattr(log_collector, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(log_storing, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(log_streams, "_RETRY_SECONDS", 0.02)
    with log_scene(tmp_path if request.param == "files" else None) as made:
        yield made


@pytest.mark.parametrize("scene", ["files"], indirect=True)
def test_drain_after_a_restart_beside_a_half_line_stores_what_is_behind_the_stored_lines(scene: Scene) -> None:
    log = scene.logs[scene.container]
    log._max_bytes = 1 << 40
    log.say(b"x" * PART_BYTES, "stderr", end=b"")
    scene.write(*range(5000))  # more than a bite, to be read again beside the half line
    scene.follow()
    eventually(lambda: len(scene.store.numbers()) == 5000)
    scene.collector.stop()
    scene.write(*range(5000, 5100))
    scene.restart()
    scene.drain()

    assert [m for m in scene.store.messages() if m.isdigit()] == [str(number) for number in range(5100)]


def test_stamp_that_the_store_cannot_hold_counts_as_none(scene: Scene) -> None:
    far_ns = 12_000_000_000 * 10**9  # in the year 2350
    scene.write(1)
    if scene.logs:
        scene.logs[scene.container].write(record(b"2\n", far_ns))
    else:
        scene.engine.world.containers[scene.container].log.append(LogLine(far_ns, "stdout", b"2"))
    scene.write(3)
    scene.follow()
    eventually(lambda: len(scene.store.numbers()) == 3)
    scene.restart()
    scene.write(4)
    scene.follow()
    eventually(lambda: 4 in scene.store.numbers())

    assert scene.store.numbers() == [1, 2, 3, 4]
    times = [at_ns for at_ns, _, _ in scene.store.lines()]
    assert times[0] == times[1] < times[2] < times[3]


def test_worker_released_while_the_store_is_full_leaves_its_lines_to_the_next(scene: Scene) -> None:
    scene.write(1)
    scene.follow()
    eventually(lambda: scene.store.numbers() == [1])
    scene.store.full = True
    scene.write(2, 3)
    old = scene.collector
    eventually(lambda: old._storing.waiting)
    old.release()
    eventually(lambda: not old._storing.waiting)
    scene.collector = scene.another()
    scene.follow()
    eventually(lambda: scene.collector._storing.waiting)
    scene.store.full = False
    eventually(lambda: 3 in scene.store.numbers())
    scene.collector.release()
    scene.collector.stop()
    scene.collector = old  # it leads again
    scene.follow()
    scene.write(4)
    eventually(lambda: 4 in scene.store.numbers())

    assert scene.store.numbers() == [1, 2, 3, 4]


def test_worker_that_does_not_lead_stores_nothing_and_begins_where_the_store_is_when_it_does(scene: Scene) -> None:
    leading: list[bool] = []
    other = scene.another(lambda: bool(leading))
    scene.write(1, 2)
    for _ in range(3):
        other.follow([Following("e", "s", "i", scene.container)], complete=True)  # a pass that was in hand
        eventually(lambda: not other._tracks)
    assert scene.store.numbers() == []
    scene.follow()
    eventually(lambda: scene.store.numbers() == [1, 2])
    scene.collector.release()
    leading.append(True)
    scene.write(3)
    other.follow([Following("e", "s", "i", scene.container)], complete=True)
    eventually(lambda: 3 in scene.store.numbers())
    other.stop()

    assert scene.store.numbers() == [1, 2, 3]


def test_release_waits_for_what_is_being_stored(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    storing, go_on = threading.Event(), threading.Event()
    append = scene.store.append

    def slow(batches: Sequence[Batch]) -> None:
        storing.set()
        assert go_on.wait(15)
        append(batches)

    monkeypatch.setattr(scene.store, "append", slow)
    scene.write(1)
    scene.follow()
    assert storing.wait(15)
    stored: list[list[int]] = []

    def release() -> None:
        scene.collector.release()
        stored.append(scene.store.numbers())

    releasing = threading.Thread(target=release)
    releasing.start()
    go_on.set()
    releasing.join(15)

    assert stored == [[1]]
