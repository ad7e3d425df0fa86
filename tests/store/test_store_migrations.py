"""Migrations: from nothing to the newest version, once, whoever else is doing the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.store.database import make_engine, migrate
from orchestrator.store.reads import Reads
from orchestrator.store.schema import Base
from tests.store.processes import ROOT, start
from tests.store.samples import a_spec, create


def test_migrating_twice_keeps_the_data(
    empty_database_url: str, open_database: Callable[[str], sessionmaker[Session]]
) -> None:
    migrate(empty_database_url)
    with open_database(empty_database_url)() as session:
        create(session, a_spec())
    migrate(empty_database_url)

    with open_database(empty_database_url)() as session:
        assert Reads(session).service("ns", "web") is not None


def test_migrated_tables_are_those_of_the_models(empty_database_url: str) -> None:
    migrate(empty_database_url)
    engine = make_engine(empty_database_url)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Base.metadata)
        tables = set(inspect(connection).get_table_names())
    engine.dispose()

    assert differences == []
    assert tables == {*Base.metadata.tables, "alembic_version"}


def test_many_processes_migrating_at_once_all_succeed(empty_database_url: str) -> None:
    processes = [start("migrate", empty_database_url) for _ in range(6)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()

    assert [process.wait(timeout=60) for process in processes] == [0] * 6


def test_built_package_contains_the_migrations(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("orchestrator", "api", "worker"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)

    with ZipFile(next(source.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    folder = "orchestrator/store/migrations"
    assert {f"{folder}/env.py", f"{folder}/versions/0001_initial.py"} <= names
