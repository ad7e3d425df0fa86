"""Traffic by the minute: what is added up, read back, and dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from orchestrator.ingress.traffic import Tally
from orchestrator.store.database import session_scope
from orchestrator.store.traffic import Traffic, TrafficMinute

MINUTE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def add(sessions: sessionmaker[Session], seconds: float, **tallies: Tally) -> None:
    with session_scope(sessions, write=True) as session:
        Traffic(session).add(MINUTE + timedelta(seconds=seconds), tallies)


def minutes(sessions: sessionmaker[Session], service: str, hours: int = 1) -> list[TrafficMinute]:
    with sessions() as session:
        return Traffic(session).minutes(service, MINUTE - timedelta(hours=hours), MINUTE + timedelta(hours=hours))


def test_samples_of_a_minute_are_one_row_and_the_next_minute_is_another(sessions: sessionmaker[Session]) -> None:
    add(sessions, 5, a=Tally(10, 1, 100, 1000, 3, 50.0), b=Tally(1))
    add(sessions, 15, a=Tally(30, 0, 200, 2000, 2, 30.0))
    add(sessions, 61, a=Tally(sessions=1))

    assert minutes(sessions, "a") == [
        TrafficMinute(MINUTE, 40, 1, 300, 3000, 3, 2.0),
        TrafficMinute(MINUTE + timedelta(minutes=1), 0, 0, 0, 0, 1, None),
    ]
    assert [m.requests for m in minutes(sessions, "b")] == [1]


def test_only_minutes_in_the_range_are_answered_and_old_ones_are_dropped(sessions: sessionmaker[Session]) -> None:
    add(sessions, -7200, a=Tally(1))
    add(sessions, 0, a=Tally(2))
    assert [m.requests for m in minutes(sessions, "a")] == [2]
    assert [m.requests for m in minutes(sessions, "a", hours=3)] == [1, 2]

    with session_scope(sessions, write=True) as session:
        Traffic(session).purge(MINUTE)
    assert [m.requests for m in minutes(sessions, "a", hours=3)] == [2]


def test_readings_are_kept_until_the_next_ones(sessions: sessionmaker[Session]) -> None:
    for readings in ({"7 http_x": [1, 2, 3, 4]}, {"9 http_x": [5, 6, 7, 8]}):
        with session_scope(sessions, write=True) as session:
            Traffic(session).keep_readings(readings)
        with sessions() as session:
            assert Traffic(session).readings() == readings
