"""Opening the database: engines, sessions, and bringing the tables up to date."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session, scoped_session, sessionmaker

BUSY_TIMEOUT_SECONDS = 10
WRITE_OPTION = "skylark_write"  # execution option of a transaction that is going to write
_MIGRATION_LOCK = 0x5379_6C61_726B  # any number, as long as every Skylark uses the same


def make_engine(url: str) -> Engine:
    """An engine for `url`, SQLite or PostgreSQL; the folder of a SQLite file is created."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    path = _sqlite_path(parsed)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed)
    apply_sqlite_pragmas(engine)
    return engine


def apply_sqlite_pragmas(engine: Engine) -> None:
    """Make a SQLite engine that somebody else created (Flask-SQLAlchemy) behave as ours; others are left alone.

    Call it before the first connection. Calling it twice, or for a PostgreSQL engine, changes nothing.
    """
    if engine.dialect.name == "sqlite" and not event.contains(engine, "begin", _begin):
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """The factory of all sessions; objects stay readable after a commit."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def session_scope(sessions: sessionmaker[Session], *, write: bool = False) -> Iterator[Session]:
    """One session and its transaction: committed at the end, rolled back when the block raises.

    With `write` SQLite's write lock is taken at once (waiting for it up to 10 s); without it only a reading
    transaction is opened, which never waits and never makes others wait.
    """
    with sessions() as session:
        if write:
            begin_write(session)
        yield session
        session.commit()


def begin_write(session: Session | scoped_session[Session]) -> None:
    """Start a transaction that is going to write, ending the one that `session` may be in.

    SQLite cannot turn a reading transaction into a writing one once somebody else has written ("database is locked",
    at once, whatever the timeout). So a writer says so at the start, and reads what it decides upon after that.
    """
    session = session() if isinstance(session, scoped_session) else session  # Flask-SQLAlchemy's is a scoped one
    if session.in_transaction():
        session.commit()
        session.expire_all()
    session.connection(execution_options={WRITE_OPTION: True})


def migrate(url: str) -> None:
    """Create the tables or bring them to the newest version. Safe when several processes call it at the same time."""
    parsed = make_url(url)
    engine = make_engine(url)
    try:
        if parsed.get_backend_name() == "sqlite":
            with _file_lock(_sqlite_path(parsed)), engine.connect() as connection:
                _upgrade(connection.execution_options(**{WRITE_OPTION: True}))
        else:
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                _upgrade(connection)
    finally:
        engine.dispose()


def _upgrade(connection: Connection) -> None:
    """All pending migrations in one transaction, so that a killed migration leaves the old version whole."""
    if not connection.in_transaction():
        connection.begin()
    folder = Path(__file__).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()


def _sqlite_path(url: URL) -> Path | None:
    """The file behind a SQLite URL; None for a database in memory."""
    return Path(url.database) if url.database and url.database != ":memory:" else None


@contextmanager
def _file_lock(path: Path | None) -> Iterator[None]:
    """Hold the lock file beside `path`; the kernel gives it back when the process dies."""
    if path is None:
        yield
        return
    with open(path.with_name(f"{path.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prepare(connection: Any, record: Any) -> None:
    """A new SQLite connection: WAL, durable commits, patience; BEGIN is ours to say, not the driver's to guess."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # an acknowledged write survives a power cut, not only a crash
    cursor.close()


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(WRITE_OPTION, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
