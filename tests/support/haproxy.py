"""A real HAProxy in a folder of its own, services behind it, and clients that count what fails."""

from __future__ import annotations

import http.client
import itertools
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from orchestrator.endpoints import HTTP, Endpoint, default_domain_name
from orchestrator.ingress.haproxy import Applied, HaProxy
from orchestrator.ingress.live import StatRow
from orchestrator.ingress.machine import proxy_settings
from orchestrator.ingress.routes import ReadyInstance, RoutedService, route_table
from tests.support.members import Member, MortalMember
from tests.support.registry import free_port

BORN = datetime(2026, 1, 1, tzinfo=UTC)
_ADDRESSES = itertools.count(1)  # each server has a loopback address of its own, as a container has


class Site:
    """A service with one endpoint, and the servers in the place of its instances."""

    def __init__(
        self,
        name: str,
        kind: str = HTTP,
        *,
        custom_domain: str = "",
        proxy_protocol: bool = False,
        may_sleep: bool = False,
    ) -> None:
        self.name, self.kind = name, kind
        self.uuid = str(uuid4())
        self.custom_domain, self.proxy_protocol = custom_domain, proxy_protocol
        self.may_sleep = may_sleep
        self.domain = default_domain_name(name, "ns", "test")
        self.container_port = free_port()
        self.service_port = 80 if kind == HTTP else free_port()
        self.born = BORN + timedelta(seconds=next(_ADDRESSES))
        self.members: list[Member | MortalMember] = []

    @property
    def backend(self) -> str:
        """Its backend's key."""
        return f"http_{self.uuid}" if self.kind == HTTP else f"tcp_{self.uuid}_{self.container_port}"

    def grow(self, count: int = 1, *, mortal: bool = False) -> Site:
        """More members."""
        for _ in range(count):
            number = next(_ADDRESSES)
            name, address = f"{self.name}.{len(self.members)}", f"127.9.{number // 250}.{number % 250 + 1}"
            made = MortalMember(name, address, self.container_port) if mortal else None
            self.members.append(made or Member(name, address, self.container_port, self.kind))
        return self

    def service(self) -> RoutedService:
        """What routing knows of it now; whoever is a member is ready."""
        endpoint = Endpoint(self.container_port, "tcp", self.kind, self.domain, self.service_port)
        ready = tuple(ReadyInstance(m.uuid, slot, m.address) for slot, m in enumerate(self.members))
        return RoutedService(
            self.uuid, self.name, "ns", self.born, (endpoint,), self.custom_domain, ready, self.proxy_protocol,
            may_sleep=self.may_sleep,
        )  # fmt: skip

    def close(self) -> None:
        """End all members."""
        for member in self.members:
            member.close()


@dataclass(frozen=True)
class Answer:
    """What a client got; status 0 when there was no HTTP answer."""

    status: int
    body: str
    seconds: float


class Proxy:
    """A HAProxy of a test's own. `show` gives it the sites that exist now."""

    def __init__(self, **settings: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sky-px-"))
        self.port = free_port()
        self.settings = proxy_settings(self.port, address="127.0.0.1", **settings)
        self.control = self.another()

    def another(self) -> HaProxy:
        """The same proxy as a restarted Skylark meets it."""
        return HaProxy(self.folder, self.settings)

    def keep_counts(self, keep: Callable[[tuple[StatRow, ...]], None]) -> None:
        """Have `keep` called before each reload."""
        self.control = HaProxy(self.folder, self.settings, before_reload=keep)

    def show(self, *sites: Site) -> Applied:
        """Apply the table of these sites."""
        return self.control.apply(route_table([site.service() for site in sites]))

    def get(
        self, host: str, path: str = "/", *, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> Answer:
        """One request on a connection of its own."""
        return request(self.port, host, path, method, body, headers)

    def pid(self) -> int:
        """The master's."""
        return int((self.folder / "haproxy.pid").read_text())

    def close(self) -> None:
        """End it and leave nothing."""
        self.control.stop()
        shutil.rmtree(self.folder)


def request(
    port: int,
    host: str,
    path: str = "/",
    method: str = "GET",
    body: bytes | None = None,
    headers: Any = None,
    seconds: float = 10,
) -> Answer:
    """One request on a connection of its own, given up after so long a silence."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body, {"Host": host, **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(), time.monotonic() - began)
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, repr(error), time.monotonic() - began)
    finally:
        connection.close()


def say_line(port: int, line: str = "hello") -> str:
    """What a line server behind `port` answers; "" when it closes without a word."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(f"{line}\n".encode())
            with connection.makefile() as file:
                return file.readline().strip()
    except ConnectionError:
        return ""


@dataclass
class Load:
    """What clients got so far: answers by (status, body), and the slowest one in seconds."""

    answers: Counter[tuple[int, str]]
    slowest: float = 0.0

    @property
    def failed(self) -> list[tuple[int, str]]:
        """Everything that was no 200."""
        return [answer for answer in self.answers if answer[0] != 200]

    def bodies(self) -> set[str]:
        """Who answered."""
        return {body for status, body in self.answers if status == 200}


@contextmanager
def steady_load(port: int, hosts: Sequence[str], clients: int = 3, pause_seconds: float = 0.004) -> Iterator[Load]:
    """Requests all the while, half of the clients on a kept connection; complete at the end of the block."""
    load, ending, lock = Load(Counter()), threading.Event(), threading.Lock()

    def one(number: int) -> None:
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=10) if number % 2 else None
        for host in itertools.cycle(hosts):
            if ending.wait(pause_seconds):
                break
            answer = _kept_request(kept, host) if kept else request(port, host)
            with lock:
                load.answers[answer.status, answer.body] += 1
                load.slowest = max(load.slowest, answer.seconds)
        if kept:
            kept.close()

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ending.set()
        for thread in threads:
            thread.join(10)


def _kept_request(connection: http.client.HTTPConnection, host: str) -> Answer:
    began = time.monotonic()
    try:
        connection.request("GET", "/", headers={"Host": host})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(), time.monotonic() - began)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return Answer(0, repr(error), time.monotonic() - began)
