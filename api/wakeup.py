"""The wake-up: a datagram that makes the worker look at a service now. Best effort, never a delay."""

from __future__ import annotations

import socket
from pathlib import Path


class Wakeup:
    """Sends service uuids to the worker's socket; a missing worker or a full queue costs nothing but one tick."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, service_uuid: str) -> None:
        """Send without waiting; every fault is ignored, because the tick finds the write anyway."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(service_uuid.encode(), str(self._path))
        except OSError:
            return
