"""Skylark's own log lines into the log store, so that operators ask for them as for a service's."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from orchestrator.logs.lines import SKYLARK, SYSTEM, Batch, LogWriter
from worker.journal import one_line

INSTANCE = "worker"
CONTAINER = "skylark-worker"
MOST_WAITING = 5000
_GATHER_SECONDS = 0.1  # lines of one pass are stored together
_RETRY_SECONDS = 1.0

Line = tuple[int, int, bytes]


class OwnLog(logging.Handler):
    """Takes records without ever waiting; a thread stores them. What can't be stored waits, and at last is dropped.

    `may_write`: the store has one writer, the worker that leads; until then lines wait too. Faults of storing are not
    logged here, or each would be the next line to store: the collector writes to the same store and tells them.
    """

    def __init__(self, writer: LogWriter, may_write: Callable[[], bool]) -> None:
        super().__init__(logging.INFO)
        self._writer = writer
        self._may_write = may_write
        self._waiting: deque[Line] = deque()
        self._dropped = 0
        self._turn = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="own log", daemon=True)

    def begin(self) -> None:
        """Take all that is logged from now on."""
        logging.getLogger().addHandler(self)
        self._thread.start()

    def end(self) -> None:
        """Store what waits, if that can be done at once, and take no more."""
        logging.getLogger().removeHandler(self)
        with self._turn:
            self._ending = True
            self._turn.notify()
        if self._thread.is_alive():
            self._thread.join(5)

    def filter(self, record: logging.LogRecord) -> bool:
        """Our own records, and the warnings of libraries; nothing that storing itself has to say."""
        if threading.current_thread() is self._thread:
            return False
        return record.name.startswith("skylark") or record.levelno >= logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        """Put the record's line behind those that wait."""
        try:
            line = (int(record.created * 1e9), SYSTEM, one_line(record).encode("utf-8", "replace"))
        except Exception:  # wrong arguments: the code that logs must not suffer for it
            self.handleError(record)
            return
        with self._turn:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(line)
            self._turn.notify()

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._waiting or self._ending)
                if not self._ending:
                    self._turn.wait(_GATHER_SECONDS)
                ending = self._ending
            stored = self._store()
            if ending:
                return
            if not stored:
                with self._turn:
                    self._turn.wait_for(lambda: self._ending, _RETRY_SECONDS)

    def _store(self) -> bool:
        """Whether all that waits now is stored."""
        if not self._may_write():
            return False
        with self._turn:
            lines, dropped = list(self._waiting), self._dropped
            self._waiting.clear()
            self._dropped = 0
        if dropped:
            told = f"WARNING {dropped} lines dropped: the log store could not be written in time"
            lines.insert(0, (lines[0][0] if lines else time.time_ns(), SYSTEM, told.encode()))
        if not lines:
            return True
        try:
            self._writer.append([Batch(SKYLARK, INSTANCE, CONTAINER, lines, "")])
        except Exception:  # whatever it is: neither may this thread end, nor may it log
            with self._turn:
                kept = lines[1:] if dropped else lines
                room = MOST_WAITING - len(self._waiting)
                self._dropped += dropped + max(0, len(kept) - room)
                self._waiting.extendleft(reversed(kept[max(0, len(kept) - room) :]))
            return False
        return True
