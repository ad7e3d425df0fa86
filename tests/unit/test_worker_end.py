"""The worker ends when it is told to, however early or often that is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.engine.fake import FakeEngine
from orchestrator.settings import read_settings
from tests.support.poll import eventually
from worker.compose import Worker


@pytest.fixture
def worker(tmp_path: Path, sqlite_url: str) -> Worker:
    environ = {
        "SKYLARK_HOME": str(tmp_path),
        "SKYLARK_DATABASE_URL": sqlite_url,
        "SKYLARK_INSTALLATION": "skylark-test-end",
        "SKYLARK_PROXY": "none",
    }
    return Worker(read_settings(environ), lambda settings, url: FakeEngine(settings.installation))


def running(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_stop_before_the_worker_runs_is_kept(worker: Worker) -> None:
    worker.stop()
    thread = running(worker.run)

    thread.join(15)

    assert not thread.is_alive()


def test_two_stops_end_it_once(worker: Worker) -> None:
    thread = running(worker.run)
    eventually(lambda: worker.reconciler is not None and thread.is_alive())

    worker.stop()
    worker.stop()
    thread.join(15)

    assert not thread.is_alive()
