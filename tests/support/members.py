"""Small servers behind a proxy, in the place of instances: in this process, or in one that can be killed."""

from __future__ import annotations

import base64
import hashlib
import socketserver
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from orchestrator.endpoints import HTTP


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
        "import sys, threading; from tests.support.members import Member, HTTP;"
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
