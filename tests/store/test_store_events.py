"""Events are read in an order that leaves none out, whichever transaction commits first."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.store.database import session_scope
from orchestrator.store.events import Events

AT = datetime(2026, 1, 2, tzinfo=UTC)


def add(session: Session, *kinds: str, service: str = "") -> None:
    for kind in kinds:
        Events(session).add(at=AT, kind=kind, reason="", service_uuid=service or None)


def kinds(sessions: sessionmaker[Session], after: int = 0, **wanted: object) -> tuple[list[str], int]:
    """The kinds behind an id, and the id to go on from."""
    with sessions() as session:
        found = Events(session).list(None, after=after, **wanted)  # type: ignore[arg-type]
    return [event.kind for event in found], found[-1].id if found else after


def test_kinds_and_service_are_filtered_and_purged_ids_are_not_given_again(sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions, write=True) as session:
        add(session, "a", "b", "c", "a")
        add(session, "d", service="11111111-0db5-11e5-9fa4-0240eaf5c02d")

    assert kinds(sessions, kinds=("a", "c"))[0] == ["a", "c", "a"]
    assert kinds(sessions, kinds=("a",), newest_first=True, limit=1)[0] == ["a"]
    _, last = kinds(sessions)
    with session_scope(sessions, write=True) as session:
        Events(session).purge(datetime(2026, 1, 3, tzinfo=UTC))
    with session_scope(sessions, write=True) as session:
        add(session, "later")
    assert kinds(sessions, last)[0] == ["later"]


@pytest.mark.postgres
def test_event_committed_late_is_missed_by_nobody_who_reads_on(postgres_url: str, open_database) -> None:  # type: ignore[no-untyped-def]
    """The slow one has its id first and commits last: until then nothing with a higher id is shown."""
    sessions = open_database(postgres_url)
    with session_scope(sessions, write=True) as session:
        add(session, "before")
    with sessions() as slow, sessions() as quick:
        add(slow, "slow one", "slow two")
        add(quick, "quick")
        quick.commit()
        first, last = kinds(sessions)
        assert first == ["before"]
        assert kinds(sessions, newest_first=True, limit=1)[0] == ["before"]
        slow.commit()
    assert kinds(sessions, last)[0] == ["slow one", "slow two", "quick"]


@pytest.mark.postgres
def test_transaction_that_gives_up_holds_nobody_back(postgres_url: str, open_database) -> None:  # type: ignore[no-untyped-def]
    sessions = open_database(postgres_url)
    with sessions() as failing, sessions() as quick:
        add(failing, "never")
        add(quick, "quick")
        quick.commit()
        assert kinds(sessions)[0] == []
        failing.rollback()
        assert kinds(sessions)[0] == ["quick"]
        add(failing, "second try")
        add(quick, "quick again")
        quick.commit()
        assert kinds(sessions)[0] == ["quick"]
        failing.commit()
    assert kinds(sessions)[0] == ["quick", "second try", "quick again"]


@pytest.mark.postgres
def test_savepoint_that_is_taken_back_leaves_the_rest_declared(postgres_url: str, open_database) -> None:  # type: ignore[no-untyped-def]
    sessions = open_database(postgres_url)
    with sessions() as slow, sessions() as quick:
        savepoint = slow.begin_nested()
        add(slow, "taken back")
        savepoint.rollback()
        add(slow, "slow")
        add(quick, "quick")
        quick.commit()
        assert kinds(sessions)[0] == []
        slow.commit()
    assert kinds(sessions)[0] == ["slow", "quick"]


@pytest.mark.postgres
def test_thousands_of_events_in_one_transaction_take_one_lock(postgres_url: str, open_database) -> None:  # type: ignore[no-untyped-def]
    sessions = open_database(postgres_url)
    with session_scope(sessions, write=True) as session:
        add(session, *["many"] * 3000)
        held = (
            session.connection().exec_driver_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").scalar()
        )

    assert held == 1
    assert len(kinds(sessions, limit=5000)[0]) == 3000
