"""Copies the lines of our containers into the log store: a thread each follows, one writes.

A first, simple form: the log issue replaces the following, not what others see of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from orchestrator.engine.base import Engine
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.jobs import Job
from orchestrator.logs.resume import resume, since_seconds
from orchestrator.logs.store import LogStore, LogStoreError, NewLine
from orchestrator.reconciler import Following
from worker.line_writer import LineWriter

log = logging.getLogger("skylark.logs")

_DRAIN_SECONDS = 15.0
_RETRY_SECONDS = 1.0


class _Track:
    """One container's log: who holds `reading` may copy it, so that no two copy the same lines."""

    def __init__(self) -> None:
        self.reading = threading.Lock()
        self.ended = False  # followed to its end
        self.drained = False  # read once more after the end: nothing can be missing


class LogCollector:
    """Follows containers as passes name them; `drain` makes sure that a dead one's log is stored to its end."""

    def __init__(self, store: LogStore, engines: Mapping[str, Engine]) -> None:
        self._store = store
        self._engines = engines
        self._writer = LineWriter(store)
        self._lock = threading.Lock()
        self._tracks: dict[str, _Track] = {}  # by container id
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin writing; following begins with the first containers."""
        self._writer.start()

    def stop(self) -> None:
        """Store what was read so far and end."""
        self._stopping.set()
        self._writer.stop()

    def follow(self, containers: Sequence[Following], *, complete: bool) -> None:
        """See that each of these is followed. `complete`: these are all there are, so others can be forgotten."""
        named = {c.container_id for c in containers}
        with self._lock:
            if complete:
                for container_id in [c for c, track in self._tracks.items() if track.ended and c not in named]:
                    del self._tracks[container_id]
            fresh = [c for c in containers if c.container_id not in self._tracks]
            tracks = {c.container_id: self._tracks.setdefault(c.container_id, _Track()) for c in fresh}
        for container in fresh:
            name, track = f"log {container.container_id[:12]}", tracks[container.container_id]
            threading.Thread(target=self._follow, args=(container, track), name=name, daemon=True).start()

    def drain(self, job: Job, container_id: str) -> None:
        """Store an ended container's log to its end. Raises EngineError, and then the container must stay.

        Its follower reads on until the stream ends, which it does when the container has. What it left is read
        here: all of it when there was no time to follow, and a last line without a line end, which the engine
        now and then leaves out of a followed stream (2 of 8 tries on engine 20.10).
        """
        with self._lock:
            track = self._tracks.setdefault(container_id, _Track())
        if not track.reading.acquire(timeout=_DRAIN_SECONDS):
            raise EngineError(Fault.TIMEOUT, "its log is still being read, so the container is kept")
        try:
            if not track.drained:
                self._flush()  # the place to go on from is behind as long as lines wait to be stored
                container = Following("", job.service_uuid, job.instance_uuid or "", container_id)
                self._copy(job.engine, container, follow=False)
                track.ended = track.drained = True
        except LogStoreError as error:
            raise EngineError(Fault.NO_SPACE, f"its log can't be stored, so the container is kept: {error}") from error
        finally:
            track.reading.release()
        self._flush()

    def _flush(self) -> None:
        if not self._writer.flush(_DRAIN_SECONDS):
            raise EngineError(Fault.NO_SPACE, "its log can't be stored yet, so the container is kept")

    def _follow(self, container: Following, track: _Track) -> None:
        engine = self._engines[container.engine_url]
        while not self._stopping.is_set():
            with track.reading:
                if track.ended or self._follow_once(engine, container):
                    track.ended = True
                    return
            self._stopping.wait(_RETRY_SECONDS)

    def _follow_once(self, engine: Engine, container: Following) -> bool:
        """Whether the log was read to its end; False when something broke it off."""
        if not self._writer.flush(_DRAIN_SECONDS):
            return False  # lines read before still wait to be stored: reading now would double them
        try:
            self._copy(engine, container, follow=True)
            return not self._stopping.is_set()
        except EngineError as error:
            log.debug("following %s broke off: %s", container.container_id[:12], error.message)
            return error.fault is Fault.NOT_FOUND
        except LogStoreError as error:
            log.error("log store can't be read, following %s waits: %s", container.container_id[:12], error)
            return False

    def _copy(self, engine: Engine, container: Following, *, follow: bool) -> None:
        """Queue the lines that the store does not have yet; nothing of this container may wait in the queue."""
        position = self._store.position(container.container_id)
        lines = engine.logs(container.container_id, since_seconds=since_seconds(position), follow=follow)
        for line in resume(position, lines):
            self._writer.put(
                NewLine(
                    service_uuid=container.service_uuid,
                    instance_uuid=container.instance_uuid,
                    container_id=container.container_id,
                    at_ns=line.at_ns,
                    stream=line.stream,
                    message=line.message,
                )
            )
            if self._stopping.is_set():
                return
