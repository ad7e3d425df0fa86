"""HAProxy's command sockets: a command in, its answer out; what goes wrong is an exception."""

from __future__ import annotations

import socket
from pathlib import Path


class ProxyError(Exception):
    """The proxy can't be spoken to, started or reloaded; the message says why, for people."""


class ProxyRefused(ProxyError):
    """The proxy answered, and said no to this command."""


class CommandSocket:
    """The worker's runtime socket or the master's. One connection a command, so that nothing is left half-said."""

    def __init__(self, path: Path, timeout_seconds: float = 2.0) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds

    def ask(self, command: str) -> str:
        """The answer's text. Raises ProxyError when nobody answers (in time)."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._timeout_seconds)
                connection.connect(str(self._path))
                connection.sendall(command.encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)  # the master waits for more commands until it is told
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode("utf-8", "replace")
        except OSError as error:
            raise ProxyError(f"the proxy does not answer on {self._path}: {error}") from error

    def do(self, command: str) -> None:
        """Raises ProxyRefused when the answer is anything but silence or a known word of success."""
        answer = self.ask(command).strip()
        if answer and answer.rstrip(".") not in _SUCCESSES:
            raise ProxyRefused(f"{command}: {answer}")


_SUCCESSES = ("New server registered", "Server deleted")
