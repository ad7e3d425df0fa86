"""The proxy's part of a round: what came since the last look, zeros where nothing came, nothing where nobody looked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.ingress.live import StatRow
from orchestrator.ingress.runtime import ProxyError
from orchestrator.metrics.samples import ProxySample
from orchestrator.store.database import make_engine, make_sessions, migrate
from orchestrator.store.traffic import Traffic
from tests.unit.test_traffic_count import UUID, WEB, row
from worker.traffic_sampler import TrafficSampler

QUIET = "1b0c5f1a-7f6e-4c62-9f3e-3a8d6f6a1c01"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Proxy:
    """Counters as a test sets them."""

    def __init__(self, *rows: StatRow) -> None:
        self.rows, self.down, self.looks = rows, False, 0

    def backend_stats(self) -> tuple[StatRow, ...]:
        self.looks += 1
        if self.down:
            raise ProxyError("the proxy does not answer")
        return self.rows


class Scene:
    """A sampler with a database and a clock that a test sets."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self.sessions, self.seconds = sessions, 0.0
        self.proxy = Proxy(row(100))
        self.make()

    def make(self, **options: float) -> None:
        """A new one, as after a restart of the worker."""
        clock = lambda: START + timedelta(seconds=self.seconds)  # noqa: E731
        self.sampler = TrafficSampler(self.sessions, clock, monotonic=lambda: self.seconds, **options)

    def at(self, seconds: float, *rows: StatRow) -> dict[str, ProxySample]:
        """The samples, by service, of a look at that time."""
        self.seconds, self.proxy.rows = seconds, rows
        return {sample.service_uuid: sample for sample in self.sampler.sample(self.proxy)}

    def recorded(self) -> int:
        """Requests in the database."""
        with self.sessions() as session:
            return sum(m.requests for m in Traffic(session).minutes(UUID, START - timedelta(hours=1), START))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path / 'skylark.sqlite'}"
    migrate(url)
    engine = make_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def scene(database: Engine) -> Scene:
    return Scene(make_sessions(database))


def test_sample_tells_what_came_since_the_last_look(scene: Scene) -> None:
    assert scene.at(0, row(100)) == {}, "before the first look anything may have been"

    found = scene.at(5, row(120, errors=2, response_ms=7, sessions=3))

    at_ms = round((START + timedelta(seconds=5)).timestamp() * 1000)
    assert found == {UUID: ProxySample(UUID, at_ms, 5.0, 20, 2, 3, 200, 2000, 7.0)}
    assert found[UUID].requests_per_second == 4.0


def test_service_without_traffic_is_known_to_have_none(scene: Scene) -> None:
    quiet = row(0, proxy=f"tcp_{QUIET}_22")
    scene.at(0, row(100), quiet)

    found = scene.at(5, row(101), quiet)

    assert (found[UUID].requests, found[QUIET].requests) == (1, 0)
    assert found[QUIET].response_ms is None
    assert scene.at(10, row(101), quiet)[UUID].requests == 0


def test_service_that_left_the_proxy_gets_a_last_zero(scene: Scene) -> None:
    scene.at(0, row(100))
    assert scene.at(5, row(101))[UUID].requests == 1
    assert scene.at(10)[UUID].requests == 0
    assert scene.at(15) == {}


def test_open_connection_without_a_request_is_told(scene: Scene) -> None:
    scene.at(0, row(100))

    assert scene.at(5, row(100, sessions=2))[UUID].connections == 2


def test_nobody_looked_is_missing_and_the_next_look_covers_the_time(scene: Scene) -> None:
    scene.at(0, row(100))
    scene.proxy.down = True
    assert scene.at(5) == {}

    scene.proxy.down = False
    assert (scene.at(10, row(150))[UUID].requests, scene.at(10.5, row(150))[UUID].requests) == (50, 0)
    assert scene.at(10.5 + 20.1, row(9000)) == {}, "an average over so long is no news"


def test_requests_counted_before_a_reload_are_in_the_sample_once(scene: Scene) -> None:
    scene.at(0, row(100))
    scene.sampler.before_reload((row(130),))

    assert scene.at(5, row(4, worker=9))[UUID].requests == 34
    assert scene.at(10, row(5, worker=9))[UUID].requests == 1


def test_one_look_serves_the_sample_and_the_minute(scene: Scene) -> None:
    scene.at(0, row(100))
    scene.sampler.record(scene.proxy)
    scene.at(5, row(120))
    scene.at(10, row(150))
    scene.sampler.record(scene.proxy)

    assert scene.proxy.looks == 3
    assert scene.recorded() == 150


def test_minute_is_recorded_when_nobody_samples(scene: Scene) -> None:
    scene.at(0, row(100))
    scene.proxy.rows, scene.seconds = (row(110),), 10.0
    scene.sampler.record(scene.proxy)
    scene.proxy.rows, scene.seconds = (row(115),), 11.0
    scene.sampler.record(scene.proxy)

    assert scene.recorded() == 115


def test_database_that_fails_loses_no_count_and_no_sample(scene: Scene, database: Engine) -> None:
    scene.at(0, row(100))
    scene.sampler.record(scene.proxy)
    broken = True

    def fail(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if broken and statement.startswith(("INSERT", "UPDATE")):
            cursor.execute("SELECT nothing FROM nowhere")

    event.listen(database, "before_cursor_execute", fail)
    scene.at(5, row(120))
    scene.sampler.before_reload((row(130),))
    scene.sampler.record(scene.proxy)
    assert scene.recorded() == 100
    assert scene.at(10, row(3, worker=9))[UUID].requests == 13

    broken = False
    scene.sampler.record(scene.proxy)

    assert scene.recorded() == 133


def test_new_leader_does_not_count_by_an_old_look_of_its_own(scene: Scene) -> None:
    """Two workers take turns: what the other one recorded in between is neither lost nor counted again."""
    scene.at(0, row(100))
    first = scene.sampler
    scene.make()
    scene.at(2, row(160))
    scene.sampler.record(scene.proxy)

    first.begin()
    scene.seconds, scene.proxy.rows = 4, (row(170),)
    assert first.sample(scene.proxy) == []
    first.record(scene.proxy)

    assert scene.recorded() == 170


def test_restarted_worker_loses_one_sample_and_no_recorded_request(scene: Scene) -> None:
    scene.at(0, row(100))
    scene.at(5, row(120))
    scene.sampler.record(scene.proxy)
    scene.make()

    assert scene.at(10, row(130)) == {}
    assert scene.at(15, row(135))[UUID].requests == 5
    scene.sampler.record(scene.proxy)

    assert scene.recorded() == 135
    assert WEB in scene.proxy.rows[0].proxy


def test_requests_before_a_reload_are_sampled_however_often_they_are_recorded(scene: Scene) -> None:
    """Samples each 30 s, the database each 10 s: what the database has had is still new to the next sample."""
    scene.make(longest_seconds=120)
    scene.at(0, row(100))
    scene.sampler.record(scene.proxy)
    scene.seconds = 10
    scene.sampler.record(scene.proxy)
    scene.sampler.before_reload((row(130),))
    scene.seconds, scene.proxy.rows = 20, (row(4, worker=9),)
    scene.sampler.record(scene.proxy)

    assert scene.at(30, row(5, worker=9))[UUID].requests == 35
    assert scene.at(60, row(6, worker=9))[UUID].requests == 1
