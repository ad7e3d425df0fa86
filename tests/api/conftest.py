"""An API on a fresh SQLite database, with a clock, wake-ups and logs that the test holds in its hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from api.app import create_app
from api.context import EXTENSION, Context
from api.followers import Followers
from orchestrator.logs.lines import STDOUT, Batch
from orchestrator.settings import Settings
from orchestrator.store.database import make_engine, make_sessions
from orchestrator.store.schema import InstanceRow, VolumeRow
from tests.support.log_memory import LogMemory

TOKEN = "0123456789abcdef0123456789abcdef01234567"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Caller(FlaskClient):
    """A client that sends the token unless told otherwise."""

    def open(self, *args: Any, token: str | None = TOKEN, **kwargs: Any) -> TestResponse:
        headers = dict(kwargs.pop("headers", None) or {})
        if token is not None:
            headers.setdefault("Authorization", f"Token {token}")
        return super().open(*args, headers=headers, **kwargs)


@dataclass
class Api:
    """The application under test and what surrounds it."""

    app: Flask
    client: Caller
    sessions: sessionmaker[Session]
    logs: LogMemory
    woken: list[str] = field(default_factory=list)
    now: datetime = NOW
    followers: Followers = field(default_factory=Followers)

    @property
    def context(self) -> Context:
        """What the application's views are given."""
        found: Context = self.app.extensions[EXTENSION]
        return found

    def create(self, name: str = "web", namespace: str = "ns", **changes: Any) -> dict[str, Any]:
        """Create a service; the answer's object."""
        body = {"service_name": name, "image_name": "registry.example/web", **changes}
        response = self.client.post(f"/v1/services/{namespace}", json=body)
        assert response.status_code == 201, response.text
        answer: dict[str, Any] = response.get_json()
        return answer

    def get(self, path: str) -> Any:
        """The JSON at `path`, which must be there."""
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.get_json()

    def add_instance(self, service_uuid: str, slot: int = 0, phase: str = "running", **values: Any) -> str:
        """Write down an instance as the worker would; its uuid."""
        row = InstanceRow(
            uuid=str(uuid4()),
            service_uuid=service_uuid,
            slot=slot,
            revision=1,
            fingerprint="0123456789ab",
            phase=phase,
            created_at=self.now,
            **values,
        )
        return self.add(row, row.uuid)

    def add_volume(self, service_uuid: str, slot: int = 0, path: str = "/data", **values: Any) -> str:
        """Write down a volume as the worker would; its name."""
        row = VolumeRow(
            name=f"skylark-{uuid4()}",
            service_uuid=service_uuid,
            service_name="ns/web",
            region="BEIJING1",
            slot=slot,
            path=path,
            size_gb=10,
            created_at=self.now,
            **values,
        )
        return self.add(row, row.name)

    def add(self, row: Any, key: str) -> str:
        """Store a row; `key`."""
        with self.sessions.begin() as session:
            session.add(row)
        return key

    def log(self, service_uuid: str, instance_uuid: str, at: float, message: str, stream: int = STDOUT) -> None:
        """Store a log line at `at` epoch seconds."""
        line = (int(at * 1000) * 1_000_000, stream, message.encode())
        self.logs.append([Batch(service_uuid, instance_uuid, instance_uuid, [line], "")])

    def later(self, seconds: float) -> None:
        """Move the clock on."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    return Settings(home=tmp_path, installation="test", admin_token=TOKEN, database_url=sqlite_url)


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    yield from _api(settings)


@pytest.fixture
def legacy_api(settings: Settings) -> Iterator[Api]:
    """An installation that answers every service write with an empty 204."""
    yield from _api(replace(settings, legacy_empty_answers=True))


@pytest.fixture
def postgres_api(settings: Settings, postgres_url: str) -> Iterator[Api]:
    """An API on PostgreSQL."""
    yield from _api(replace(settings, database_url=postgres_url))


def _api(settings: Settings) -> Iterator[Api]:
    engine = make_engine(settings.sqlalchemy_url)
    logs = LogMemory()
    woken: list[str] = []
    followers = Followers(most=3, heartbeat_seconds=0)
    app = create_app(settings, log_store=logs, wake=woken.append, now=lambda: made.now, followers=followers)
    app.test_client_class = Caller
    client = app.test_client()
    assert isinstance(client, Caller)
    made = Api(app, client, make_sessions(engine), logs, woken, followers=followers)
    yield made
    followers.ended = lambda: True
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
    engine.dispose()
