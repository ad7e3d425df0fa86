"""A door to the engine that can be shut: to Skylark the engine is gone, while its containers run on.

The machine's engine itself is never stopped: it belongs to others too, and a second one beside it would take its
bridge away.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class EngineDoor:
    """Listens on a unix socket at `path` and passes every byte on to the engine's socket while it is open."""

    def __init__(self, path: Path, engine_socket: str) -> None:
        self.url = f"unix://{path}"
        self._path = path
        self._engine_socket = engine_socket
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def open(self) -> None:
        """The engine answers (again)."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        """The engine is gone: nobody listens, and what was connected is cut off."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)
        self._path.unlink(missing_ok=True)
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            _end(connection)

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self._engine_socket)
            with self._lock:
                self._open |= {client, engine}
            for source, sink in ((client, engine), (engine, client)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
