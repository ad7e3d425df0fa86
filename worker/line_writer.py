"""One thread that writes the lines of all followers to the log store, in batches, never dropping one."""

from __future__ import annotations

import logging
import queue
import threading

from orchestrator.logs.store import LogStore, NewLine

log = logging.getLogger("skylark.logs")

_QUEUE_LINES = 5000  # a full queue holds the followers back; the engine keeps their lines meanwhile
_BATCH_LINES = 1000
_RETRY_SECONDS = 1.0


class LineWriter:
    """`put` from any thread; `flush` waits until all that was put before is stored."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._queue: queue.Queue[NewLine | None] = queue.Queue(_QUEUE_LINES)
        self._put = 0
        self._stored = 0
        self._changed = threading.Condition()
        self._order = threading.Lock()  # the number of a line is its place in the queue
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, name="log writer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, line: NewLine) -> None:
        """Queue a line; waits while the queue is full."""
        with self._order:
            self._queue.put(line)
            self._put += 1

    def flush(self, timeout_seconds: float) -> bool:
        """Whether everything put before this call is stored now."""
        wanted = self._put
        with self._changed:
            return self._changed.wait_for(lambda: self._stored >= wanted, timeout_seconds)

    def stop(self) -> None:
        """Store what is queued and end; what can't be stored is read again from the engine after a restart."""
        self._stopping.set()
        while self._thread.is_alive():  # it may end without making room in a full queue
            try:
                self._queue.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        if self._thread.is_alive():
            self._thread.join(10)

    def _write(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch, ending = [first], False
            while len(batch) < _BATCH_LINES:
                try:
                    line = self._queue.get_nowait()
                except queue.Empty:
                    break
                if line is None:
                    ending = True
                    break
                batch.append(line)
            if not self._store_batch(batch) or ending:
                return
            with self._changed:
                self._stored += len(batch)
                self._changed.notify_all()

    def _store_batch(self, batch: list[NewLine]) -> bool:
        """Tries until it succeeds, saying once what is wrong; False when asked to stop in between."""
        told = False
        while True:
            try:
                self._store.append(batch)
            except Exception as error:  # whatever it is: a writer that ends here would lose everybody's lines
                if not told:
                    log.error("log store can't be written, collection waits: %s", error)
                told = True
                if self._stopping.wait(_RETRY_SECONDS):
                    return False
                continue
            if told:
                log.info("log store can be written again, collection goes on")
            return True
