"""The real HAProxy in front of a service that sleeps: the first requests wait for it and are answered."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from orchestrator.ingress.holding import abstract_path, wake_address
from tests.support.haproxy import Answer, Proxy, Site
from tests.support.members import Member
from tests.support.poll import eventually
from worker.wake_calls import WakeCalls

HOST = "nap-ns.test"


class Bedside:
    """A proxy with one service that sleeps, and who is called for."""

    def __init__(self, **settings: object) -> None:
        self.proxy = Proxy(**settings)
        self.nap = Site("nap", may_sleep=True)
        self.others: list[Site] = []
        self.called: list[str] = []
        self.calls = WakeCalls(abstract_path(wake_address(str(self.proxy.folder))), self.called.append)
        self.pool = ThreadPoolExecutor(64)

    def show(self) -> str:
        """Apply what is there now; how it was done."""
        return self.proxy.show(self.nap, *self.others).how

    def asleep(self) -> Bedside:
        """The service routed, without an instance, and someone listening for calls."""
        self.calls.start()
        self.show()
        return self

    def ask(self, path: str = "/", **request: object) -> Future[Answer]:
        """One request, under way."""
        return self.pool.submit(lambda: self.proxy.get(HOST, path, **request))  # type: ignore[arg-type]

    def waiting(self, count: int = 1) -> None:
        """Wait until so many requests are held, and the first one has called."""
        eventually(lambda: self.called)
        eventually(lambda: self.held() == count)

    def held(self) -> int:
        """Requests that are in the proxy and with no server, by its own count of the listening worker."""
        rows = [row for row in self.proxy.control.stats() if row.kind == "frontend" and row.proxy == "web"]
        return sum(row.sessions for row in rows)

    def wakes(self) -> None:
        """An instance is ready."""
        if not self.nap.members:
            self.nap.grow()
        assert self.show() == "runtime"

    def reached(self) -> tuple[int, int]:
        """GET and POST requests that its instance got."""
        member = self.nap.members[0]
        assert isinstance(member, Member)
        return member.gets, member.posts

    def close(self) -> None:
        """Leave nothing."""
        self.calls.stop()
        self.proxy.close()
        self.pool.shutdown(cancel_futures=True)
        for site in (self.nap, *self.others):
            site.close()


@pytest.fixture
def make() -> Iterator[Callable[..., Bedside]]:
    """Makes what ends with the test."""
    made: list[Bedside] = []

    def bedside(**settings: object) -> Bedside:
        made.append(Bedside(**settings))
        return made[-1]

    yield bedside
    for each in made:
        each.close()


def test_first_request_calls_for_the_service_and_is_answered_by_it(make: Callable[..., Bedside]) -> None:
    bed = make().asleep()

    first = bed.ask()
    bed.waiting()
    assert bed.called[0] == bed.nap.uuid
    assert bed.calls.waking() == {bed.nap.uuid}
    bed.wakes()

    assert (first.result().status, first.result().body) == (200, "nap.0")
    assert bed.reached() == (1, 0)


@pytest.mark.parametrize("size", [3, 5_000_000])
def test_held_post_arrives_whole_and_once(make: Callable[..., Bedside], size: int) -> None:
    bed, body = make().asleep(), os.urandom(size)

    first = bed.ask(method="POST", body=body)
    bed.waiting()
    bed.wakes()

    assert first.result().body == hashlib.sha256(body).hexdigest()
    assert bed.reached() == (0, 1)


def test_all_that_are_held_are_answered(make: Callable[..., Bedside]) -> None:
    bed = make().asleep()

    answers = [bed.ask() for _ in range(20)]
    bed.waiting(20)
    bed.wakes()

    assert {answer.result().body for answer in answers} == {"nap.0"}
    assert len(bed.called) < 20  # one call a second for all of them


@pytest.mark.parametrize(
    ("trusted", "forwarded"),
    [
        ((), ["x-forwarded-for: 127.0.0.1"]),
        (("127.0.0.1",), ["x-forwarded-for: 1.2.3.4", "x-forwarded-for: 127.0.0.1"]),
    ],
)
def test_held_requests_survive_a_reload(
    make: Callable[..., Bedside], trusted: tuple[str, ...], forwarded: list[str]
) -> None:
    bed = make(trusted_proxies=trusted).asleep()
    body = os.urandom(200_000)

    asked = [bed.ask("/headers", **{"X-Forwarded-For": "1.2.3.4"}), bed.ask(method="POST", body=body)]
    bed.waiting(2)
    for name in ("one", "two"):
        bed.others.append(Site(name))
        assert bed.show() == "reload"
    bed.wakes()

    headers, digest = (answer.result() for answer in asked)
    assert digest.body == hashlib.sha256(body).hexdigest()
    assert headers.status == 200
    told = headers.body.splitlines()
    assert [line for line in told if line.startswith("x-forwarded-for")] == forwarded
    assert not [line for line in told if line.startswith("x-skylark")]
    assert bed.reached() == (1, 1)


def test_reload_does_not_prolong_the_hold(make: Callable[..., Bedside]) -> None:
    bed = make(hold_seconds=3).asleep()

    first = bed.ask()
    bed.waiting()
    bed.others.append(Site("one"))
    assert bed.show() == "reload"

    answer = first.result()
    assert answer.status == 503
    assert answer.seconds < 3.9


def test_nobody_comes_and_the_request_is_refused_in_the_end(make: Callable[..., Bedside]) -> None:
    bed = make(hold_seconds=1, idle_seconds=5).asleep()

    answer = bed.ask().result()

    assert answer.status == 503
    assert answer.body.startswith("nap-ns.test is being deployed, or has no ready instance")
    assert answer.seconds >= 1


def test_hold_outlasts_the_times_of_ordinary_requests(make: Callable[..., Bedside]) -> None:
    bed = make(hold_seconds=20, idle_seconds=1, request_seconds=1).asleep()

    asked = [bed.ask(), bed.ask(method="POST", body=b"abc")]
    eventually(lambda: len(bed.called) >= 4)
    assert not any(each.done() for each in asked)
    bed.wakes()

    assert [each.result().status for each in asked] == [200, 200]


def test_client_that_goes_away_frees_its_place(make: Callable[..., Bedside]) -> None:
    bed = make(most_held=1).asleep()
    request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()

    with socket.create_connection(("127.0.0.1", bed.proxy.port)) as gone:
        gone.sendall(request)
        bed.waiting()
        assert bed.ask().result().status == 503  # there is one place
    eventually(lambda: bed.held() == 0)
    bed.called.clear()

    def taken() -> Future[Answer] | None:
        asked, known = bed.ask(), len(bed.called)
        eventually(lambda: asked.done() or len(bed.called) > known)
        return None if asked.done() else asked

    asked = eventually(taken)
    assert asked is not None
    bed.wakes()
    assert asked.result().status == 200
    assert bed.reached() == (1, 0)


def test_too_many_are_refused_at_once(make: Callable[..., Bedside]) -> None:
    bed = make(most_held=3).asleep()

    held = [bed.ask() for _ in range(3)]
    bed.waiting(3)
    refused = bed.ask().result()
    bed.wakes()

    assert refused.status == 503
    assert [each.result().status for each in held] == [200, 200, 200]


def test_worker_that_comes_later_is_called_again(make: Callable[..., Bedside]) -> None:
    bed = make()
    bed.show()

    first = bed.ask()
    eventually(lambda: bed.held() == 1)
    bed.calls.start()
    bed.waiting()
    bed.wakes()

    assert first.result().status == 200


@pytest.mark.parametrize("with_another", [True, False])
def test_stopped_while_held_is_refused_soon(make: Callable[..., Bedside], with_another: bool) -> None:
    """With another one that may sleep the proxy is told; without, it is reloaded without its program."""
    bed = make(hold_seconds=9)
    bed.others += [Site("other", may_sleep=True)] if with_another else []
    bed.asleep()

    first = bed.ask()
    bed.waiting()
    bed.nap.may_sleep = False
    assert bed.show() == ("runtime" if with_another else "reload")

    assert first.result().status == 503
    assert first.result().seconds < 5


def test_who_may_not_sleep_is_not_held_and_who_is_awake_is_not_called(make: Callable[..., Bedside]) -> None:
    bed = make()
    stopped, awake = Site("stopped"), Site("awake", may_sleep=True).grow()
    bed.others += [stopped, awake]
    bed.asleep()

    assert bed.proxy.get("stopped-ns.test").status == 503
    assert bed.proxy.get("awake-ns.test").body == "awake.0"
    assert bed.called == []


def test_falls_asleep_and_wakes_again(make: Callable[..., Bedside]) -> None:
    bed = make()
    instance = bed.nap.grow().members[0]
    bed.asleep()
    for _ in range(3):
        assert bed.proxy.get(HOST).body == "nap.0"
        bed.nap.members = []
        assert bed.show() == "runtime"
        bed.called.clear()
        first = bed.ask()
        bed.waiting()
        bed.nap.members = [instance]
        bed.wakes()
        assert first.result().body == "nap.0"


def test_half_closed_request_to_one_that_is_awake_is_answered(make: Callable[..., Bedside]) -> None:
    bed = make()
    bed.nap.grow()
    bed.asleep()

    with socket.create_connection(("127.0.0.1", bed.proxy.port), timeout=10) as line:
        line.sendall(f"GET /slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        line.shutdown(socket.SHUT_WR)
        assert line.recv(4096).startswith(b"HTTP/1.1 200")


def test_websocket_is_held_too(make: Callable[..., Bedside]) -> None:
    bed = make().asleep()
    handshake = (
        f"GET /echo HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )

    with socket.create_connection(("127.0.0.1", bed.proxy.port), timeout=10) as line:
        line.sendall(handshake.encode())
        bed.waiting()
        threading.Thread(target=bed.wakes).start()
        assert line.recv(4096).startswith(b"HTTP/1.1 101")
        line.sendall(b"hello")
        assert line.recv(4096) == b"hello"
