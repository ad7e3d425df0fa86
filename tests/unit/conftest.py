"""What several of these tests stand on: a log archive, and its clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.logs.archive import LogArchive
from tests.support.archive import NOON, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def archive(tmp_path: Path, clock: Clock) -> Iterator[LogArchive]:
    made = LogArchive(tmp_path / "logs", max_bytes=None, service_max_bytes=None, clock=clock)
    yield made
    made.close()
