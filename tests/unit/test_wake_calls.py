"""Calls of the proxy for services that sleep: heard, remembered for some seconds, taken over by the next worker."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestrator.ingress.holding import abstract_path, wake_address
from tests.support.poll import eventually
from worker.wake_calls import REMEMBERED_SECONDS, WakeCalls


@pytest.fixture
def path() -> bytes:
    """A name of the test's own."""
    return abstract_path(wake_address(f"/test/{secrets.token_hex(8)}"))


@pytest.fixture
def listen(path: bytes) -> Iterator[Callable[..., WakeCalls]]:
    """Makes listeners that end with the test."""
    made: list[WakeCalls] = []

    def start(on_wake: Callable[[str], None], **given: Any) -> WakeCalls:
        made.append(WakeCalls(path, on_wake, **given))
        made[-1].start()
        return made[-1]

    yield start
    for calls in made:
        calls.stop()


def call(path: bytes, text: bytes) -> bool:
    """As the proxy does it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(path)
        line.sendall(text)
    return True


def test_call_is_heard_and_remembered_for_some_seconds(path: bytes, listen: Callable[..., WakeCalls]) -> None:
    heard: list[str] = []
    now = [100.0]
    calls = listen(heard.append, clock=lambda: now[0])

    eventually(lambda: call(path, b"one\n"))
    eventually(lambda: heard == ["one"])
    now[0] += REMEMBERED_SECONDS
    assert calls.waking() == {"one"}
    now[0] += 0.1
    assert calls.waking() == set()


def test_worker_takes_over_when_the_one_before_lets_go(path: bytes, listen: Callable[..., WakeCalls]) -> None:
    first: list[str] = []
    second: list[str] = []
    one = listen(first.append)
    eventually(lambda: call(path, b"a\n"))
    listen(second.append)
    one.stop()

    def reaches_the_second() -> bool:
        call(path, b"b\n")
        return bool(second)

    eventually(reaches_the_second)
    assert first == ["a"]


def test_listener_survives_nonsense_and_a_fault_of_who_is_told(path: bytes, listen: Callable[..., WakeCalls]) -> None:
    heard: list[str] = []

    def on_wake(uuid: str) -> None:
        heard.append(uuid)
        if len(heard) == 1:
            raise RuntimeError("not now")

    listen(on_wake)

    eventually(lambda: call(path, b"\xff\xfe\n"))
    call(path, b"")
    call(path, b"x" * 5000)
    call(path, b"last")
    eventually(lambda: "last" in heard)


def test_stopped_listener_can_start_again(path: bytes, listen: Callable[..., WakeCalls]) -> None:
    heard: list[str] = []
    calls = listen(heard.append)
    eventually(lambda: call(path, b"a\n"))
    eventually(lambda: heard == ["a"])

    calls.stop()
    with pytest.raises(ConnectionRefusedError):
        call(path, b"b\n")
    calls.start()
    eventually(lambda: call(path, b"c\n"))
    eventually(lambda: heard == ["a", "c"])


def test_failing_accept_is_got_over(
    path: bytes, listen: Callable[..., WakeCalls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process has no file descriptor left for a moment."""
    accept, failures = socket.socket.accept, [OSError(24, "Too many open files")]

    def failing(listener: socket.socket) -> Any:
        connection, address = accept(listener)
        if failures:
            connection.close()
            raise failures.pop()
        return connection, address

    monkeypatch.setattr(socket.socket, "accept", failing)
    heard: list[str] = []
    listen(heard.append)

    eventually(lambda: call(path, b"one\n") and "one" in heard)
    assert failures == []
