"""A gate before a registry: it lets requests through, counts them, or holds them for as long as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

_HELD_SECONDS = 120  # a gate that a failed test left closed opens at last


class Gate:
    """Listens on `host` and forwards to the registry at `upstream` (host:port) while it is open."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.seen: list[str] = []  # "GET /v2/...", in the order of their coming
        self._open = threading.Event()
        self._open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"gate": self}))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def shut(self) -> None:
        """From now on requests get no answer."""
        self._open.clear()

    def open(self) -> None:
        """Answer all that wait, and those that come."""
        self._open.set()

    def pass_(self, request: str) -> None:
        """Note a request, and hold it while the gate is shut."""
        self.seen.append(request)
        self._open.wait(_HELD_SECONDS)

    def close(self) -> None:
        self.open()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    gate: Gate
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.gate.pass_(f"{self.command} {self.path}")
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
        with requests.Session() as session:
            session.trust_env = False
            url = f"http://{self.gate.upstream}{self.path}"
            answer = session.request(self.command, url, headers=headers, timeout=30, allow_redirects=False)
        self.send_response(answer.status_code)
        for key, value in answer.headers.items():
            if key.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(key, value.replace(self.gate.upstream, self.gate.host))
        self.send_header("Content-Length", answer.headers.get("Content-Length", str(len(answer.content))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        """The test asks `seen` instead."""


@contextmanager
def gate_before(upstream: str) -> Iterator[Gate]:
    """An open gate, closed down afterwards."""
    gate = Gate(upstream)
    try:
        yield gate
    finally:
        gate.close()
