"""Wake-ups by the API: a datagram with a service uuid on a unix socket. Losing one costs one tick."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("skylark.worker")

_MAX_BYTES = 64


class WakeListener:
    """Listens on `path`, which must belong to the one worker that holds the lease."""

    def __init__(self, path: Path, notify: Callable[[str | None], None]) -> None:
        self._path = path
        self._notify = notify
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Take the socket over (a dead worker's file may lie there) and listen. Does nothing when listening.

        Without a socket (its path is too long, the folder can't be written) the tick alone has to do.
        """
        if self._socket is not None:
            return
        try:
            sock = self._bound()
        except OSError as error:
            log.warning("wake-ups are off, changes wait for the next tick: %s: %s", self._path, error)
            return
        self._socket = sock
        threading.Thread(target=self._listen, args=(sock,), name="wake-ups", daemon=True).start()

    def _bound(self) -> socket.socket:
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            sock.bind(str(fresh))
            fresh.chmod(0o660)  # the API may be another user of our group (deploy/skylark-worker.service)
            fresh.rename(self._path)  # at once: no moment without a listener
        except OSError:
            sock.close()
            raise
        return sock

    def stop(self) -> None:
        """Let go; a later start listens again."""
        sock, self._socket = self._socket, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _listen(self, sock: socket.socket) -> None:
        while self._socket is sock:
            try:
                message = sock.recv(_MAX_BYTES)
            except OSError:
                return
            self._notify(message.decode("ascii", "ignore") or None)
