"""A worker that kills itself beside one engine call: `python -m tests.chaos.trap_worker before|after METHOD NUMBER`.

Right before or right after its NUMBER-th call of METHOD it sends itself SIGKILL, as a crash of the machine would.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from orchestrator.engine.base import Engine
from orchestrator.settings import Settings
from worker.__main__ import main
from worker.compose import docker_engine


class TrappedEngine:
    """An engine whose n-th call of one method is the last thing that its process does."""

    def __init__(self, engine: Engine, moment: str, method: str, number: int) -> None:
        self._engine = engine
        self._moment = moment
        self._method = method
        self._left = number
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        return found if name != self._method else lambda *args, **options: self._trapped(found, *args, **options)

    def _trapped(self, call: Any, *args: Any, **options: Any) -> Any:
        with self._lock:
            self._left -= 1
            here = self._left == 0
        if here and self._moment == "before":
            _die()
        try:
            return call(*args, **options)
        finally:
            if here:
                _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def trapped_engine(settings: Settings, url: str) -> Any:
    """The engine factory of the worker."""
    moment, method, number = sys.argv[1:4]
    assert moment in ("before", "after"), moment
    return TrappedEngine(docker_engine(settings, url), moment, method, int(number))


if __name__ == "__main__":
    sys.exit(main(trapped_engine))
