"""How an engine's instances are read: by files where they are, else by its stats; slow answers are left out."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Collection, Iterator
from typing import cast

import pytest

from orchestrator.engine.base import ContainerConfig, Engine
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.engine.fake import FakeEngine
from orchestrator.metrics.deltas import Look
from orchestrator.metrics.reader import FILES, STATS, EngineReader
from orchestrator.metrics.reader_files import CgroupReader
from orchestrator.metrics.reader_stats import StatsReader
from orchestrator.metrics.samples import Reading
from tests.support.poll import eventually

UNIX, TCP = "unix:///var/run/docker.sock", "tcp://far:2375"


class Files:
    """The kernel's files of those containers that a test names."""

    def __init__(self) -> None:
        self.here: set[str] = set()

    def read(self, container_ids: Collection[str]) -> dict[str, Look]:
        return {i: Look(Reading(1, 2, 3), 4.0) for i in container_ids if i in self.here}


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine("test")
    engine.world.push("web:1")
    yield engine
    engine.close()


def launch(engine: FakeEngine, name: str) -> str:
    container_id = engine.create_container(ContainerConfig(name, engine.pull("web:1").image_id, {}))
    engine.start_container(container_id)
    return container_id


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]


def test_engine_on_this_machine_is_read_by_files_and_never_asked(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    files, a, b = Files(), launch(engine, "a"), launch(engine, "b")
    reader = EngineReader(UNIX, engine, cast(CgroupReader, files))
    files.here = {a}

    assert set(reader.read([a, b], 1.0)) == {a}, "b is just ending: missing"
    files.here = {a, b}
    assert set(reader.read([a, b], 1.0)) == {a, b}

    assert engine.calls["stats"] == 0
    assert told(caplog) == [f"what instances on {UNIX} use is read from {FILES}"]


def test_engine_without_files_here_is_asked_and_that_is_told_once(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    a = launch(engine, "a")
    engine.use(a, cpu_ns=7, rx_bytes=8)
    reader = EngineReader(UNIX, engine, cast(CgroupReader, Files()))

    for _ in range(3):
        reading = reader.read([a], 1.0)[a].reading
        assert (reading.cpu_ns, reading.rx_bytes) == (7, 8)

    assert told(caplog) == [f"what instances on {UNIX} use is read from {STATS}"]
    reader.close()


def test_remote_engine_is_asked_even_if_there_are_files_of_that_name(engine: FakeEngine) -> None:
    files, a = Files(), launch(engine, "a")
    files.here = {a}
    reader = EngineReader(TCP, engine, cast(CgroupReader, files))

    assert reader.read([a], 1.0)[a].reading.memory_bytes == 1 << 20
    reader.close()


def test_ended_and_missing_containers_are_left_out_and_decide_nothing(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    files, a = Files(), launch(engine, "a")
    reader = EngineReader(UNIX, engine, cast(CgroupReader, files))
    engine.die(a)

    assert reader.read([a, "gone"], 1.0) == {}
    assert told(caplog) == [], "nobody can tell yet which way it is"

    b = launch(engine, "b")
    files.here = {b}
    assert set(reader.read([b], 1.0)) == {b}
    assert told(caplog) == [f"what instances on {UNIX} use is read from {FILES}"]
    reader.close()


def test_engine_that_is_down_answers_for_nobody_and_is_asked_again(engine: FakeEngine) -> None:
    a = launch(engine, "a")
    reader = StatsReader(engine)
    engine.down = EngineError(Fault.UNREACHABLE, "no engine answers")
    assert reader.read([a], 1.0) == {}

    engine.down = None
    assert set(reader.read([a], 1.0)) == {a}
    reader.close()


class Slow:
    """An engine that answers for some containers only when a test lets it."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.stuck, self.go_on = engine, set[str](), threading.Event()
        self.asked: list[str] = []

    def stats(self, container_id: str) -> Reading:
        self.asked.append(container_id)
        if container_id in self.stuck:
            self.go_on.wait(30)
        return self.engine.stats(container_id)


def test_slow_answer_holds_up_nobody_else_and_is_not_asked_for_twice(engine: FakeEngine) -> None:
    a, b = launch(engine, "a"), launch(engine, "b")
    slow = Slow(engine)
    slow.stuck = {a}
    reader = StatsReader(cast(Engine, slow), threads=2)

    assert set(reader.read([a, b], 0.2)) == {b}
    assert set(reader.read([a, b], 0.2)) == {b}
    assert slow.asked.count(a) == 1

    slow.stuck = set()
    slow.go_on.set()
    eventually(lambda: set(reader.read([a, b], 1.0)) == {a, b})
    reader.close()


class Limited:
    """An engine that answers as many calls as a test allows, in their order; the others wait."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.lock = engine, threading.Lock()
        self.waiting, self.allowed = deque[threading.Event](), 0

    def allow(self, count: int) -> None:
        with self.lock:
            self.allowed += count
            self._let_go()

    def stats(self, container_id: str) -> Reading:
        turn = threading.Event()
        with self.lock:
            self.waiting.append(turn)
            self._let_go()
        assert turn.wait(30)
        return self.engine.stats(container_id)

    def _let_go(self) -> None:
        while self.waiting and self.allowed:
            self.allowed -= 1
            self.waiting.popleft().set()


def test_everybody_has_a_turn_where_a_round_is_too_short_for_all(engine: FakeEngine) -> None:
    ids = [launch(engine, f"c{number}") for number in range(6)]
    limited = Limited(engine)
    reader = StatsReader(cast(Engine, limited), threads=2)

    answered: list[str] = []
    for _ in range(3):
        limited.allow(2)
        answered += reader.read(ids, 0.3)

    assert sorted(answered) == sorted(ids)
    limited.allow(100)
    reader.close()


def test_who_was_not_even_asked_in_time_is_asked_in_the_next_round(engine: FakeEngine) -> None:
    ids = [launch(engine, name) for name in ("a", "b", "c")]
    slow = Slow(engine)
    slow.stuck = {ids[0]}
    reader = StatsReader(cast(Engine, slow), threads=1)

    assert reader.read(ids, 0.1) == {}
    assert slow.asked == ids[:1]

    slow.go_on.set()
    eventually(lambda: set(reader.read(ids, 1.0)) == set(ids))
    reader.close()
