"""A real HAProxy in a folder of its own, small servers behind it, and clients that count what fails."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from orchestrator.endpoints import HTTP, Endpoint, default_domain_name
from orchestrator.ingress.haproxy import Applied, HaProxy
from orchestrator.ingress.live import StatRow
from orchestrator.ingress.machine import proxy_settings
from orchestrator.ingress.routes import ReadyInstance, RoutedService, route_table
from tests.support.registry import free_port

BORN = datetime(2026, 1, 1, tzinfo=UTC)
_ADDRESSES = itertools.count(1)  # each server has a loopback address of its own, as a container has


class _Handler(BaseHTTPRequestHandler):
    """Names its server; /headers tells what reached it, /slow takes half a second, /echo upgrades, POST /die breaks."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one write: a death between head and body can't be made good by any proxy

    def do_GET(self) -> None:
        server: Any = self.server
        server.gets += 1
        if self.path == "/echo":
            self._upgrade()
            return
        if self.path == "/slow":
            threading.Event().wait(0.5)
        told = "".join(f"{name.lower()}: {value}\n" for name, value in self.headers.items())
        self._answer(told if self.path == "/headers" else server.name)

    def do_POST(self) -> None:
        server: Any = self.server
        server.posts += 1
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left and (block := self.rfile.read(min(left, 1 << 16))):
            digest.update(block)
            left -= len(block)
        if self.path == "/die":
            self.close_connection = True
            return
        self._answer(digest.hexdigest())

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _upgrade(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()
        while data := self.connection.recv(4096):
            self.connection.sendall(data)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        return


class _LineHandler(socketserver.StreamRequestHandler):
    """Answers every line with its server's name and the line."""

    def handle(self) -> None:
        server: Any = self.server
        while line := self.rfile.readline():
            self.wfile.write(f"{server.name} ".encode() + line)


class _WebServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        return  # a connection that the proxy closed is nothing to tell


class _LineServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Member:
    """A server in threads, in the place of an instance."""

    def __init__(self, name: str, address: str, port: int, kind: str) -> None:
        self.uuid = str(uuid4())
        self.name, self.address = name, address
        self._port, self._kind = port, kind
        self.reopen()

    def reopen(self) -> None:
        """Serve (again)."""
        make, handler = (_WebServer, _Handler) if self._kind == HTTP else (_LineServer, _LineHandler)
        self._server: socketserver.TCPServer = make((self.address, self._port), handler)
        self._state: Any = self._server
        self._state.name, self._state.gets, self._state.posts = self.name, 0, 0
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def gets(self) -> int:
        """GET requests that reached it."""
        return int(self._state.gets)

    @property
    def posts(self) -> int:
        """POST requests that reached it."""
        return int(self._state.posts)

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


class MortalMember:
    """The same web server in a process of its own, to be killed with all it holds open."""

    _CODE = (
        "import sys, threading; from tests.support.haproxy import Member, HTTP;"
        "Member(sys.argv[1], sys.argv[2], int(sys.argv[3]), HTTP); print('up', flush=True); threading.Event().wait(600)"
    )

    def __init__(self, name: str, address: str, port: int) -> None:
        self.uuid = str(uuid4())
        self.name, self.address, self._port = name, address, port
        self.reopen()

    def reopen(self) -> None:
        """Serve (again), in a new process."""
        command = [sys.executable, "-c", self._CODE, self.name, self.address, str(self._port)]
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._popen.stdout is not None
        with self._popen.stdout as said:
            said.readline()

    def close(self) -> None:
        """SIGKILL."""
        self._popen.kill()
        self._popen.wait()


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
