"""Hints from the engine: a container of ours died, was removed, changed its health. A lost one costs one tick."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from orchestrator.engine.base import Engine, EngineEvent
from orchestrator.engine.errors import EngineError, Fault

log = logging.getLogger("skylark.worker")

# our own creates and starts tell nothing new
_TELLING = ("die", "oom", "destroy", "pause", "unpause", "health_status")


class EventWatcher:
    """One thread an engine; `notify(event)` for each event that may ask for a pass, None when some may be lost."""

    def __init__(self, url: str, engine: Engine, notify: Callable[[EngineEvent | None], None]) -> None:
        self._url = url
        self._engine = engine
        self._notify = notify
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"events {url}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ends with the next event, or when the engine is closed; the thread is a daemon and holds nothing up."""
        self._stopping.set()

    def _watch(self) -> None:
        """Read the stream; when it ends or falls silent, read on from the last event, and look at everything."""
        since = time.time()
        delay = 0.2
        while not self._stopping.is_set():
            try:
                for event in self._engine.events(since=since):
                    if self._stopping.is_set():
                        return
                    since, delay = event.at, 0.2
                    if event.action.startswith(_TELLING):
                        self._notify(event)
            except EngineError as error:
                if error.fault is Fault.TIMEOUT:
                    continue  # silence is normal; a fresh connection can't have died without a word
                log.debug("events of %s ended: %s", self._url, error.message)
            self._stopping.wait(delay)
            delay = min(delay * 2, 5.0)
            self._notify(None)
