"""Wake-up calls by the proxy, which holds a request for a service that sleeps. A lost one is repeated in a second."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

log = logging.getLogger("skylark.worker")

_MAX_BYTES = 64
_LINE_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
REMEMBERED_SECONDS = 5.0  # a few of the proxy's calls


class WakeCalls:
    """Listens where the proxy calls: `path` as `holding.abstract_path` gives it, one worker of a host at a time.

    `on_wake` gets the uuid of a service, on this thread; `waking` tells who was called for in the last seconds.
    """

    def __init__(
        self, path: bytes, on_wake: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._on_wake = on_wake
        self._clock = clock
        self._called: dict[str, float] = {}
        self._lock = threading.Lock()
        self._ending: threading.Event | None = None
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Listen. While another worker still does, ask again each second. Does nothing when listening."""
        if self._ending is None:
            self._ending = threading.Event()
            threading.Thread(target=self._run, args=(self._ending,), name="wake-up calls", daemon=True).start()

    def stop(self) -> None:
        """Let go; a later start listens again."""
        ending, self._ending = self._ending, None
        if ending is None:
            return
        with self._lock:
            ending.set()
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closes it
                self._socket.close()
                self._socket = None

    def waking(self) -> set[str]:
        """Services (uuids) that a request waits for, as far as is known."""
        with self._lock:
            oldest = self._clock() - REMEMBERED_SECONDS
            self._called = {uuid: at for uuid, at in self._called.items() if at >= oldest}
            return set(self._called)

    def _run(self, ending: threading.Event) -> None:
        told = ""
        while not ending.is_set():
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.bind(self._path)
                sock.listen(64)
            except OSError as error:
                sock.close()
                if str(error) != told:
                    log.warning("services that sleep can't be woken by requests yet, trying each second: %s", error)
                    told = str(error)
                ending.wait(_AGAIN_SECONDS)
                continue
            with self._lock:
                if ending.is_set():
                    sock.close()
                    return
                self._socket = sock
            with sock:  # whatever ended it, the name is free for the next try
                self._listen(sock, ending)

    def _listen(self, sock: socket.socket, ending: threading.Event) -> None:
        while not ending.is_set():
            try:
                connection, _ = sock.accept()
            except OSError:
                return
            try:
                self._hear(connection)
            except Exception:
                log.exception("a wake-up call was lost; the proxy calls again")

    def _hear(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(_LINE_SECONDS)
            try:
                with connection.makefile("rb") as file:
                    uuid = file.readline(_MAX_BYTES).decode("ascii", "ignore").strip()
            except OSError:
                return
        if uuid:
            with self._lock:
                self._called[uuid] = self._clock()
            self._on_wake(uuid)
