"""Copies the lines of our containers into the log store: one thread reads all logs in turn, and stores by the round."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from orchestrator.engine.base import Engine
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.jobs import Job
from orchestrator.logs.limit import LineLimit
from orchestrator.logs.lines import Batch, LogWriter
from orchestrator.logs.position import Position, read_position
from orchestrator.logs.record import NONE
from orchestrator.logs.tail import LogEnded
from orchestrator.reconciler import Following
from worker.log_source import FORMATS, FileSource, Source
from worker.log_storing import LogStoring
from worker.log_streams import StreamSource
from worker.log_track import Track

log = logging.getLogger("skylark.logs")

ROUND_SECONDS = 0.05
QUIET_ROUND_SECONDS = 0.25  # of a container that has said nothing for two seconds
RESTING_ROUND_SECONDS = 0.5  # and of one that has said nothing for ten: 300 of them cost half a hundredth of a core
BITE_BYTES = 256 * 1024  # of one container in one round: nobody starves beside a flood
_ROUND_BYTES = 8 * 1024 * 1024  # of all together: what memory has to hold
_QUIET_AFTER_SECONDS = 2.0
_REST_AFTER_SECONDS = 10.0
_GONE_AFTER_SECONDS = 2.0  # a rotation lets the file be missing for a moment
_RETRY_SECONDS = 1.0
_DRAIN_SECONDS = 15.0
_FINDERS = 4


class LogCollector:
    """Follows containers as passes name them; `drain` makes sure that a dead one's log is stored to its end.

    `may_write`: whether this worker leads; a collector that finds it does not is released.
    """

    def __init__(
        self,
        store: LogWriter,
        engines: Mapping[str, Engine],
        *,
        lines_per_second: int = 20_000,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._engines = engines
        self._lines_per_second = lines_per_second
        self._may_write = may_write
        self._changed = threading.Condition()
        self._tracks: dict[str, Track] = {}  # by container id
        self._limits: dict[str, LineLimit] = {}  # by service
        self._released: list[Track] = []
        self._named: set[str] | None = None  # by the last complete pass; None: nothing to clear away
        self._stopping = threading.Event()
        self._storing = LogStoring(store, self._stopping)
        self._era = 0  # counts the releases: nothing read before one is stored after it
        self._finders = ThreadPoolExecutor(_FINDERS, thread_name_prefix="log finder")
        self._thread = threading.Thread(target=self._run, name="log collector", daemon=True)

    def start(self) -> None:
        """Begin; there is something to do with the first containers."""
        self._thread.start()

    def stop(self) -> None:
        """Store what was read so far and end; what can't be stored is read again after a restart."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(10)
        self._finders.shutdown(wait=False, cancel_futures=True)
        for track in (*self._tracks.values(), *self._released):
            if track.source is not None:
                track.source.close()

    def follow(self, containers: Sequence[Following], *, complete: bool) -> None:
        """See that each of these is followed. `complete`: these are all there are, so others can be forgotten."""
        with self._changed:
            for container in containers:
                if container.container_id not in self._tracks:
                    self._add(container, self._engines[container.engine_url])
            if complete:
                self._named = {c.container_id for c in containers}
        self._wake()

    def release(self) -> None:
        """Another worker goes on from what is stored: forget everything but that, and store nothing more of it."""
        with self._storing.turn, self._changed:
            self._era += 1
            self._released += self._tracks.values()
            self._tracks.clear()
        self._wake()

    def drain(self, job: Job, container_id: str) -> None:
        """Store an ended container's log to its end. Raises EngineError, and then the container must stay."""
        with self._changed:
            track = self._tracks.get(container_id)
            if track is None:
                track = self._add(Following("", job.service_uuid, job.instance_uuid or "", container_id), job.engine)
        if track.drained:
            return
        track.engine = job.engine
        if track.source is None and not self._find(track):
            raise track.fault if isinstance(track.fault, EngineError) else _kept(track.fault)
        with self._changed:
            track.fault, track.draining, track.ended, track.look_at = None, True, False, 0.0
            self._changed.notify_all()
            self._changed.wait_for(lambda: track.drained or track.fault or self._stopping.is_set(), _DRAIN_SECONDS)
            if not track.drained:
                track.draining = False
        if not track.drained:
            if isinstance(track.fault, EngineError):
                raise track.fault
            raise _full() if self._storing.waiting else _kept(track.fault)

    def _add(self, container: Following, engine: Engine) -> Track:
        limit = self._limits.setdefault(container.service_uuid, LineLimit(self._lines_per_second))
        track = self._tracks[container.container_id] = Track(container, engine, limit)
        return track

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait = self._round()
            except Exception:  # whatever it is: nobody else collects
                log.exception("collecting logs failed, going on")
                wait = _RETRY_SECONDS
            if wait > 0:
                with self._changed:
                    self._changed.wait(wait)

    def _round(self) -> float:
        """A bite of everybody who is due, stored in one go. Answers how long to wait then."""
        now = time.monotonic()
        if not self._may_write():
            self.release()
        self._clear_away()
        with self._changed:
            era = self._era
            due = [track for track in self._tracks.values() if not track.ended and track.look_at <= now]
            released, self._released = self._released, []
        for track in released:
            if track.source is not None:
                track.source.close()
        bite = min(BITE_BYTES, _ROUND_BYTES // max(1, len(due)))
        batches: list[Batch] = []
        through: list[Track] = []
        for track in due:
            if track.source is None:
                track.look_at = now + _RETRY_SECONDS
                if not track.asked:
                    track.asked = True
                    self._finders.submit(self._find, track)
                continue
            batch = self._bite(track, bite, now, through)
            if batch is not None:
                batches.append(batch)
        if batches and not self._storing.store(batches, lambda: era == self._era and self._may_write()):
            self.release()  # they are ahead of the store
            return 0.0
        if through:
            with self._changed:
                for track in through:
                    track.drained = track.ended = True
                self._changed.notify_all()
        with self._changed:
            soonest = min((t.look_at for t in self._tracks.values() if not t.ended), default=now + _RETRY_SECONDS)
        return max(0.0, min(soonest, now + _RETRY_SECONDS) - time.monotonic())

    def _bite(self, track: Track, most_bytes: int, now: float, through: list[Track]) -> Batch | None:
        """What this round takes of one log. A fault stays with its container, and is told once."""
        assert track.source is not None
        try:
            batch = track.collect(most_bytes, now)
            track.missing_since, track.missing_told = None, False
            if batch is not None:
                track.look_at = now if track.read_at == now else now + ROUND_SECONDS
                track.fault = None
                return batch
            if track.draining and track.source.through():
                through.append(track)
                return track.finish(now)
            self._schedule(track, now)
        except LogEnded:
            through.append(track)
            return track.finish(now)
        except FileNotFoundError:
            return self._missing(track, now, through)
        except Exception as error:
            self._failed(track, error, now)
        return None

    def _schedule(self, track: Track, now: float) -> None:
        """Nothing came: look again soon, or not so soon."""
        assert track.source is not None
        silence = now - track.read_at
        track.look_at = now + (ROUND_SECONDS if silence < _QUIET_AFTER_SECONDS else QUIET_ROUND_SECONDS)
        if silence > _REST_AFTER_SECONDS:
            track.look_at = now + RESTING_ROUND_SECONDS
            track.source.rest()

    def _missing(self, track: Track, now: float, through: list[Track]) -> Batch | None:
        """Its file is not there: in the middle of a rotation for a moment, else gone, and that is said."""
        since = track.missing_since = track.missing_since or now
        track.look_at = now + ROUND_SECONDS
        if now - since < _GONE_AFTER_SECONDS:
            return None
        assert track.source is not None
        if track.draining or track.source.lost():
            through.append(track)
        if track.missing_told:
            return None
        track.missing_told = True
        return track.gone()

    def _failed(self, track: Track, error: Exception, now: float) -> None:
        name = track.following.container_id[:12]
        track.look_at = now + _RETRY_SECONDS
        if isinstance(error, EngineError) and error.fault is Fault.NOT_FOUND:
            track.ended = True
        if track.fault is None:
            known = isinstance(error, OSError | EngineError)
            log.warning("log of %s can't be read, trying again: %s", name, error, exc_info=not known)
        with self._changed:
            track.fault = error
            self._changed.notify_all()

    def _find(self, track: Track) -> bool:
        """Where its log is, and how far the store is with it. False: not now, `fault` says why."""
        with track.finding:
            if track.source is not None:
                return True
            try:
                track.open(*self._opened(track))
                track.look_at = 0.0
            except Exception as error:
                self._failed(track, error, time.monotonic())
                return False
            finally:
                track.asked = False
        self._wake()
        return True

    def _opened(self, track: Track) -> tuple[Source, Position | None]:
        container_id = track.following.container_id
        position = read_position(self._store.position(container_id))
        place = track.engine.log_source(container_id)
        if place.path and place.driver in FORMATS:
            return FileSource(place.path, place.driver, place.most_files, position), position
        position = replace(position, place=None, skip=NONE) if position else None
        return StreamSource(track.engine, container_id, position, place.most_bytes, self._wake), position

    def _clear_away(self) -> None:
        """Forget containers that are through and that no pass names any more, once the engine has none of them."""
        with self._changed:
            named, self._named = self._named, None
            if named is None:
                return
            over = [track for c, track in self._tracks.items() if track.ended and c not in named]
            served = {track.following.service_uuid for track in self._tracks.values()}
            self._limits = {service: limit for service, limit in self._limits.items() if service in served}
        for track in over:
            self._finders.submit(self._forget, track)

    def _forget(self, track: Track) -> None:
        """Only now its position can go: with the container there, its log would be collected a second time."""
        container_id = track.following.container_id
        try:
            track.engine.log_source(container_id)
        except EngineError as error:
            if error.fault is not Fault.NOT_FOUND:
                return
            with suppress(Exception):  # then the next complete pass comes here again
                self._store.forget_container(container_id)
                with self._changed:
                    self._tracks.pop(container_id, None)
                if track.source is not None:
                    track.source.close()


def _kept(error: Exception | None) -> EngineError:
    why = f": {error}" if error else ""
    return EngineError(Fault.TIMEOUT, f"its log is still being read, so the container is kept{why}")


def _full() -> EngineError:
    return EngineError(Fault.NO_SPACE, "its log can't be stored yet, so the container is kept")
