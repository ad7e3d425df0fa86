"""Holding the lease: one worker acts, the other stands by and takes over, a failing database is borne for a while."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.store.lease import Lease
from orchestrator.store.reads import Reads
from tests.support.world import NOW
from worker import leadership
from worker.leadership import Leadership


class Clock:
    """Wall clock and monotonic clock in one."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> Any:
        return NOW + timedelta(seconds=self.seconds)


class Told:
    """A leadership, what it told its worker, and its sessions, which can be made to fail."""

    def __init__(self, sessions: sessionmaker[Session], clock: Clock, holder: str) -> None:
        self.broken = False
        self._sessions = sessions
        self.words: list[str] = []
        lease = Lease(self, holder, 6.0, clock.monotonic)  # type: ignore[arg-type]
        self.leadership = Leadership(
            lease, self, clock.now, lambda: self.words.append("gained"), lambda: self.words.append("lost")  # type: ignore[arg-type]
        )  # fmt: skip

    def __call__(self) -> Session:
        if self.broken:
            raise OperationalError("SELECT", {}, Exception("no database"))
        return self._sessions()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leadership.time, "monotonic", made.monotonic)
    return made


@pytest.fixture
def worker(
    sqlite_url: str, open_database: Callable[[str], sessionmaker[Session]], clock: Clock
) -> Callable[[str], Told]:
    sessions = open_database(sqlite_url)
    return lambda holder: Told(sessions, clock, holder)


def test_first_worker_leads_and_says_so_once(worker: Callable[[str], Told]) -> None:
    first = worker("a:1:1")
    first.leadership.renew()
    first.leadership.renew()

    assert first.words == ["gained"]
    assert first.leadership.may_act()


def test_second_worker_stands_by_and_takes_over_when_the_lease_runs_out(
    worker: Callable[[str], Told], clock: Clock
) -> None:
    first, second = worker("a:1:1"), worker("b:1:1")
    first.leadership.renew()
    second.leadership.renew()
    assert second.words == []
    assert not second.leadership.may_act()

    clock.seconds = 6.5
    assert not first.leadership.may_act()
    second.leadership.renew()
    assert second.words == ["gained"]
    first.leadership.renew()
    assert first.words == ["gained", "lost"]


def test_resigning_lets_the_next_begin_at_once(worker: Callable[[str], Told]) -> None:
    first, second = worker("a:1:1"), worker("b:1:1")
    first.leadership.renew()
    first.leadership.resign()
    second.leadership.renew()

    assert not first.leadership.may_act()
    assert second.words == ["gained"]


def test_failing_database_costs_the_lease_only_when_it_fails_for_too_long(
    worker: Callable[[str], Told], clock: Clock
) -> None:
    first = worker("a:1:1")
    first.leadership.renew()
    first.broken = True
    clock.seconds = 3
    first.leadership.renew()
    assert first.leadership.may_act()
    assert first.words == ["gained"]

    clock.seconds = 6.1
    first.leadership.renew()
    assert first.words == ["gained", "lost"]
    first.broken = False
    first.leadership.renew()
    assert first.words == ["gained", "lost", "gained"]
    assert first.leadership.may_act()


def test_resigning_without_a_database_is_no_error(worker: Callable[[str], Told]) -> None:
    first = worker("a:1:1")
    first.leadership.renew()
    first.broken = True

    first.leadership.resign()


def test_signs_of_life_tell_the_worker_and_each_engine(worker: Callable[[str], Told], clock: Clock) -> None:
    first = worker("a:1:1")
    first.leadership.seen = {"unix:///e": (NOW, "engine does not answer: refused")}
    clock.seconds = 1
    first.leadership.renew()

    with first() as session:
        alive, engine = Reads(session).heartbeat("worker"), Reads(session).heartbeat("engine:unix:///e")
    assert alive is not None
    assert alive.at == clock.now()
    assert engine is not None
    assert (engine.at, engine.trouble) == (NOW, "engine does not answer: refused")


def test_worker_that_stands_by_shows_no_sign_of_life(worker: Callable[[str], Told], clock: Clock) -> None:
    first, second = worker("a:1:1"), worker("b:1:1")
    first.leadership.renew()
    clock.seconds = 2
    second.leadership.renew()

    with first() as session:
        alive = Reads(session).heartbeat("worker")
    assert alive is not None
    assert alive.at == NOW
