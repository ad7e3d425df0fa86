"""Wake-ups: what the API sends arrives, across restarts and take-overs, and no fault of it stops the worker."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.poll import eventually
from worker.wake_listener import WakeListener

UUID = "5e5e5e5e-0000-4000-8000-000000000000"


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "wake.sock"


@pytest.fixture
def heard() -> list[str | None]:
    return []


@pytest.fixture
def listener(path: Path, heard: list[str | None]) -> Iterator[WakeListener]:
    made = WakeListener(path, heard.append)
    made.start()
    yield made
    made.stop()


def send(path: Path, message: bytes = UUID.encode()) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message, str(path))


def test_datagram_names_the_service_to_look_at(listener: WakeListener, path: Path, heard: list[str | None]) -> None:
    send(path)
    eventually(lambda: heard == [UUID], 5, 0.005)


def test_empty_or_odd_datagram_asks_for_a_look_at_all(
    listener: WakeListener, path: Path, heard: list[str | None]
) -> None:
    send(path, b"")
    send(path, b"\xff\xfe")
    eventually(lambda: heard == [None, None], 5, 0.005)


def test_file_of_a_dead_worker_is_taken_over(path: Path, heard: list[str | None]) -> None:
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path.unlink(missing_ok=True)
    dead.bind(str(path))
    dead.close()
    listener = WakeListener(path, heard.append)
    listener.start()
    send(path)

    eventually(lambda: heard == [UUID], 5, 0.005)
    listener.stop()


def test_newer_worker_takes_the_wake_ups(listener: WakeListener, path: Path, heard: list[str | None]) -> None:
    later: list[str | None] = []
    newer = WakeListener(path, later.append)
    newer.start()
    send(path)

    eventually(lambda: later == [UUID], 5, 0.005)
    assert heard == []
    newer.stop()


def test_listener_that_let_go_hears_nothing_and_can_listen_again(
    listener: WakeListener, path: Path, heard: list[str | None]
) -> None:
    listener.stop()
    with pytest.raises(OSError):
        send(path)
    listener.start()
    listener.start()
    send(path)

    eventually(lambda: UUID in heard, 5, 0.005)


def test_only_the_owner_and_the_group_can_wake_the_worker(listener: WakeListener, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_home_too_deep_for_a_socket_costs_only_the_wake_ups(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    listener = WakeListener(folder / "wake.sock", lambda uuid: None)

    listener.start()
    listener.stop()
