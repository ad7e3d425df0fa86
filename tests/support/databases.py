"""Real databases for the tests: SQLite in a fresh folder, and a PostgreSQL of our own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.store.database import make_engine, make_sessions, migrate
from tests.support.poll import eventually

_USER = "skylark"


@dataclass
class PostgresServer:
    """A running cluster of our own, reached by a unix socket only."""

    socket_folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str) -> str:
        """The database as SQLAlchemy and SKYLARK_DATABASE_URL take it."""
        return f"postgresql+psycopg://{_USER}@/{database}?host={self.socket_folder}"

    def execute(self, statement: str) -> None:
        """Run one administrative statement."""
        dsn = f"host={self.socket_folder} user={_USER} dbname=postgres"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    @contextmanager
    def fresh(self, template: str) -> Iterator[str]:
        """The URL of a new database, a copy of `template`, dropped afterwards whoever still uses it."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL on a cluster made for this run; installed from the machine's package source when missing."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="skylark-pg-"))
    as_user = _unprivileged(folder)
    cluster = folder / "cluster"
    subprocess.run(
        [programs / "initdb", "-D", cluster, "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        **as_user,  # type: ignore[call-overload]
    )
    options = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off", "max_connections": "200"}
    arguments = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", cluster, *arguments], stdout=log, stderr=log, cwd=folder, **as_user
        )
    try:
        found = PostgresServer(folder)
        eventually(lambda: found.execute("SELECT 1") or True, seconds=60)
        found.execute("CREATE DATABASE migrated")
        migrate(found.url("migrated"))
        yield found
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        finally:
            server.kill()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_sqlite: Path) -> str:
    """A fresh SQLite database with all tables."""
    path = tmp_path / "skylark.sqlite"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh PostgreSQL database with all tables."""
    with postgres_server.fresh("migrated") as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database with all tables; the test runs once on SQLite and once on PostgreSQL."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database without any table, of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'deeper' / 'skylark.sqlite'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        with server.fresh("template0") as url:
            yield url


@pytest.fixture
def open_database() -> Iterator[Callable[[str], sessionmaker[Session]]]:
    """A function from URL to session factory; what it opened is closed after the test."""
    engines: list[Engine] = []

    def open_(url: str) -> sessionmaker[Session]:
        engines.append(make_engine(url))
        return make_sessions(engines[-1])

    yield open_
    for engine in engines:
        engine.dispose()


@pytest.fixture
def sessions(database_url: str, open_database: Callable[[str], sessionmaker[Session]]) -> sessionmaker[Session]:
    """Sessions on `database_url`."""
    return open_database(database_url)


def _programs() -> Path:
    """The folder of the newest PostgreSQL's programs."""
    if not _installed():
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "postgresql"], check=True)
    return _installed()[-1]


def _installed() -> list[Path]:
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return [path.parent for path in sorted(found, key=lambda path: int(path.parts[4]))]


def _unprivileged(folder: Path) -> dict[str, object]:
    """How to start a process that may run PostgreSQL, which refuses root; `folder` becomes its user's."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o755)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
