"""What a round has read goes into the log store: tried until it is there, unless it became another worker's to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from orchestrator.logs.lines import Batch, LogWriter

log = logging.getLogger("skylark.logs")

_RETRY_SECONDS = 1.0


class LogStoring:
    """Stores for the collector's thread. `turn` is held while it does; `stopping` is set by the owner."""

    def __init__(self, store: LogWriter, stopping: threading.Event) -> None:
        self.turn = threading.Lock()
        self.waiting = False  # read lines wait for the store
        self._store = store
        self._stopping = stopping

    def store(self, batches: Sequence[Batch], ours: Callable[[], bool]) -> bool:
        """Tries until it succeeds, saying once what is wrong; False: asked to stop in between, or not `ours` any more.

        `ours` is asked in our turn: whoever takes the turn and ends that is sure of what is in the store.
        """
        while True:
            try:
                with self.turn:
                    if not ours():
                        self.waiting = False
                        return False
                    self._store.append(batches)
            except Exception as error:  # whatever it is: giving up would lose everybody's lines
                if not self.waiting:
                    log.error("log store can't be written, collection waits: %s", error)
                self.waiting = True
                if self._stopping.wait(_RETRY_SECONDS):
                    return False
                continue
            if self.waiting:
                log.info("log store can be written again, collection goes on")
            self.waiting = False
            return True
