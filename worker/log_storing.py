"""What a round has read goes into the log store: tried until it is there, unless it became another worker's to do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from orchestrator.logs.errors import LogStoreError
from orchestrator.logs.gaps import left_out
from orchestrator.logs.lines import SYSTEM, Batch, LogWriter
from orchestrator.logs.record import TIMES

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
        A fault that is not the store's own may come from one of the batches, which must not hold up all others: then
        each is tried by itself, and one that fails again is left out, which its service's log tells.
        """
        left, alone = [batches], False  # each in one transaction
        while left:
            try:
                with self.turn:
                    if not ours():
                        self.waiting = False
                        return False
                    self._store.append(left[0])
            except Exception as error:  # whatever it is: giving up would lose everybody's lines
                if not isinstance(error, LogStoreError | MemoryError):
                    if alone and not _is_note(left[0][0]):
                        left[0] = [_note(left[0][0], error)]
                        continue
                    if not alone:
                        left, alone = [[batch] for batch in batches], True
                if not self.waiting:
                    log.error("log store can't be written, collection waits: %s", error)
                self.waiting = True
                if self._stopping.wait(_RETRY_SECONDS):
                    return False
                continue
            left.pop(0)
            if self.waiting:
                log.info("log store can be written again, collection goes on")
            self.waiting = False
        return True


def _note(batch: Batch, error: Exception) -> Batch:
    """What stands for lines that can't be stored. The position moves on: they would fail again."""
    fields = {"service": batch.service_uuid, "container": batch.container_id[:12], "lines": len(batch.lines)}
    log.error("lines left out, they can't be stored", extra={"fields": fields}, exc_info=error)
    at_ns = next((at_ns for at_ns, _, _ in batch.lines if at_ns in TIMES), time.time_ns())
    text = left_out(len(batch.lines), f"{type(error).__name__}: {error}")
    return replace(batch, lines=[(at_ns, SYSTEM, text.encode("utf-8", "replace"))])


def _is_note(batch: Batch) -> bool:
    """Whether it holds nothing that a container said: then it is no use to leave it out."""
    return all(stream == SYSTEM for _, stream, _ in batch.lines)
