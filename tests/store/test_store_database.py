"""The database under load and under fire: locks, snapshots, and what survives a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from orchestrator.store.database import apply_sqlite_pragmas, begin_write, make_engine, make_sessions, session_scope
from orchestrator.store.events import Events
from orchestrator.store.lease import beat
from orchestrator.store.reads import Reads
from orchestrator.store.schema import HeartbeatRow
from orchestrator.store.services import ServiceStore
from tests.store.processes import start
from tests.store.samples import NOW, a_spec, counting, create, later

OpenDatabase = Callable[[str], sessionmaker[Session]]


def test_sqlite_engine_is_durable_and_patient(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/not/there/yet/x.sqlite")

    with engine.connect() as connection:
        found = [connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "busy_timeout")]
    engine.dispose()

    assert found == ["wal", 2, 10_000]


def test_engine_made_by_others_gets_the_same_pragmas_even_when_asked_twice(sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)
    apply_sqlite_pragmas(engine)
    apply_sqlite_pragmas(engine)

    with session_scope(make_sessions(engine), write=True) as session:
        assert session.scalar(text("PRAGMA synchronous")) == 2
        with pytest.raises(Exception, match="locked"), create_engine(sqlite_url).connect() as other:
            other.exec_driver_sql("PRAGMA busy_timeout = 1")
            other.exec_driver_sql("BEGIN IMMEDIATE")
    engine.dispose()


def test_pragmas_on_postgres_engine_change_nothing(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    apply_sqlite_pragmas(engine)

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_reader_and_writer_do_not_wait_for_each_other(sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions) as reading:
        assert Reads(reading).heartbeat("worker") is None
        with session_scope(sessions, write=True) as writing:
            beat(writing, "worker", NOW)
            with session_scope(sessions) as another:
                assert Reads(another).heartbeat("worker") is None

    with session_scope(sessions) as reading:
        assert Reads(reading).heartbeat("worker") is not None


def test_sqlite_reading_transaction_sees_one_state_throughout(sqlite_url: str, open_database: OpenDatabase) -> None:
    sessions = open_database(sqlite_url)
    with session_scope(sessions) as reading:
        assert Events(reading).list(None) == ()
        with sessions() as session:
            create(session, a_spec())
        assert Events(reading).list(None) == ()


def test_write_after_a_stale_read_in_one_session_succeeds(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        Reads(session).page("ns", application=None, offset=0, limit=20)
        with sessions() as other:
            create(other, a_spec("first"))
        create(session, a_spec("second"))

        names = [s.name for s in Reads(session).page("ns", application=None, offset=0, limit=20)[0]]
    assert sorted(names) == ["first", "second"]


def test_scoped_session_that_expires_its_rows_writes_as_well(database_url: str) -> None:
    """As the API has it: Flask-SQLAlchemy makes engine and session with defaults of its own."""
    engine = create_engine(database_url)
    apply_sqlite_pragmas(engine)
    session = scoped_session(sessionmaker(engine))
    Reads(session()).service("ns", "web")

    created = create(session(), a_spec())
    changed = ServiceStore(session).replace_spec(  # type: ignore[arg-type]
        created.uuid,
        a_spec(image_tag="2"),
        now=NOW,
        expected_generation=1,
        recheck_image=False,
        reason="",
        choose_port=counting(),
    )

    assert changed == Reads(session()).service("ns", "web")
    session.remove()
    engine.dispose()


def test_begin_write_sees_what_others_wrote_since_the_last_read(sessions: sessionmaker[Session]) -> None:
    with session_scope(sessions, write=True) as session:
        beat(session, "counter", NOW, lag_seconds=1)
    with sessions() as session:
        row = session.get_one(HeartbeatRow, "counter")
        with session_scope(sessions, write=True) as other:
            beat(other, "counter", later(1), lag_seconds=2)
        begin_write(session)

        assert row.lag_seconds == 2


def test_scope_that_raises_leaves_nothing(sessions: sessionmaker[Session]) -> None:
    with pytest.raises(RuntimeError), session_scope(sessions, write=True) as session:
        beat(session, "worker", NOW)
        raise RuntimeError

    with session_scope(sessions) as session:
        assert Reads(session).heartbeat("worker") is None


def test_two_processes_writing_at_once_lose_nothing(database_url: str, open_database: OpenDatabase) -> None:
    sessions = open_database(database_url)
    with session_scope(sessions, write=True) as session:
        beat(session, "counter", NOW)

    processes = [start("count", database_url) for _ in range(2)]
    codes = [process.wait(timeout=60) for process in processes]

    assert codes == [0, 0]
    with session_scope(sessions) as session:
        assert session.get_one(HeartbeatRow, "counter").lag_seconds == 200


def test_killed_writer_keeps_what_it_acknowledged_and_blocks_nobody(
    database_url: str, open_database: OpenDatabase
) -> None:
    process = start("create", database_url)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(30)]
    process.kill()
    acknowledged += process.stdout.read().split()
    process.wait(timeout=30)

    with open_database(database_url)() as session:
        create(session, a_spec("after"))
        reads = Reads(session)
        services, count = reads.page("ns", application=None, offset=0, limit=100_000)
        events = {event.service_uuid for event in Events(session).list(None, limit=100_000)}

        assert {*acknowledged, "after"} <= {service.name for service in services}
        assert count - len(acknowledged) - 1 in (0, 1)  # at most the one whose acknowledgement was cut off
        assert {service.uuid for service in services} == events
        assert all(len(reads.revisions(service.uuid)) == 1 for service in services)
