"""The log collector across restarts, lost leases and a store in trouble: every line once, of everybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engine.base import LogLine
from tests.support.log_files import PART_BYTES, record
from tests.support.log_scene import Scene, log_scene
from tests.support.poll import eventually
from worker import log_collector, log_streams


@pytest.fixture(params=["files", "streams"])
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Scene]:
    monkeypatch.setattr(log_collector, "_RETRY_SECONDS", 0.02)
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
