"""How many may follow logs and events through one process at once. No HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

MOST_FOLLOWERS = 48  # of one process; gunicorn's other threads stay free for everybody else
HEARTBEAT_SECONDS = 15.0


class Followers:
    """The places for followers of one process. `ended`: the process is about to end, so followers must go."""

    def __init__(self, most: int = MOST_FOLLOWERS, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self.most = most
        self.heartbeat_seconds = heartbeat_seconds
        self.ended: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._taken = 0

    def take(self) -> Callable[[], None] | None:
        """Take a place; the answer gives it back (once, however often it is called). None: all are taken."""
        with self._lock:
            if self._taken >= self.most:
                return None
            self._taken += 1
        left = [None]

        def give_back() -> None:
            with self._lock, suppress(IndexError):
                left.pop()
                self._taken -= 1

        return give_back
