"""One container's log on its way into the store: bites of its source made into batches, with what must be said."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter

from orchestrator.engine.base import Engine
from orchestrator.logs import gaps
from orchestrator.logs.limit import STRETCH_SECONDS, Dropped, LineLimit
from orchestrator.logs.lines import SYSTEM, Batch
from orchestrator.logs.position import Position
from orchestrator.logs.record import TIMES, Line, Skip
from orchestrator.reconciler import Following
from worker.log_source import Source, Taken

_SECOND_NS = 1_000_000_000
_TIME = itemgetter(0)
_TELL_DROPPED_SECONDS = 1.0  # of quiet, and the log tells what was dropped


class Track:
    """How far one container is, in memory. Only the collector's thread collects; others may set and read flags."""

    def __init__(self, following: Following, engine: Engine, limit: LineLimit) -> None:
        self.following = following
        self.engine = engine
        self.source: Source | None = None  # not known yet where its log is
        self.finding = threading.Lock()  # held by whoever finds out
        self.asked = False  # somebody is going to find out
        self.look_at = 0.0  # monotonic: when to look again
        self.read_at = 0.0  # monotonic: when something came last
        self.missing_since: float | None = None
        self.missing_told = False
        self.draining = False
        self.ended = False  # nothing more can come
        self.drained = False  # and all of it is stored
        self.fault: Exception | None = None  # the latest try's; told once
        self._limit = limit
        self._stored = Position()
        self._dropped: Dropped | None = None
        self._dropped_at = 0.0

    def open(self, source: Source, position: Position | None) -> None:
        """Begin where the store is."""
        self._stored = position or Position()
        self._dropped = self._stored.dropped
        self.source = source

    def collect(self, most_bytes: int, now: float) -> Batch | None:
        """The next lines with the position behind them, and maybe none of them is new; None: nothing came.

        Raises as the source does.
        """
        assert self.source is not None
        taken = self.source.take(most_bytes) if self.source.pending() else None
        if taken is not None:
            self.read_at = now
            return self._batch(taken, now)
        if self._dropped is not None and now - self._dropped_at >= _TELL_DROPPED_SECONDS:
            return self._made([self._tell_dropped()], self._stored.place, self._stored.skip)
        return None

    def finish(self, now: float) -> Batch | None:
        """All is taken and the container has ended: what waited for more, None: nothing did."""
        assert self.source is not None
        taken = self.source.finish()
        batch = self._batch(taken, now) if taken else None
        if self._dropped is None:
            return batch
        lines = [*(batch.lines if batch else ()), self._tell_dropped()]
        return self._made(lines, self._stored.place, self._stored.skip)

    def gone(self) -> Batch:
        """The log is gone before it was read to its end."""
        return self._made([self._system(gaps.GONE, self._stored.at_ns)], self._stored.place, self._stored.skip)

    def _batch(self, taken: Taken, now: float) -> Batch:
        lines = _dated(taken.lines, self._stored.at_ns)
        if taken.late:
            return self._made(lines, self._stored.place, self._stored.skip)
        kept: list[Line] = []
        if taken.gap:
            kept.append(self._system(taken.gap, lines[0][0] if lines else self._stored.at_ns))
        for run, over in self._limit.admit(lines):
            if run and self._dropped is not None:
                kept.append(self._tell_dropped())
            kept += run
            if over is not None:
                self._dropped, self._dropped_at = over.plus(self._dropped), now
                if self._dropped.last_ns - self._dropped.first_ns >= STRETCH_SECONDS * _SECOND_NS:
                    kept.append(self._tell_dropped())
        at_ns, count = _last(lines, self._stored)
        self._stored = Position(at_ns, count, self._stored.place, self._stored.skip)
        place, skip = (taken.place, taken.skip) if taken.place else (self._stored.place, self._stored.skip)
        return self._made(kept, place, skip)

    def _made(self, lines: Sequence[Line], place: object, skip: Skip) -> Batch:
        self._stored = Position(self._stored.at_ns, self._stored.count_at_ns, place, skip, self._dropped)  # type: ignore[arg-type]
        who = self.following
        return Batch(who.service_uuid, who.instance_uuid, who.container_id, lines, self._stored.text())

    def _tell_dropped(self) -> Line:
        over, self._dropped = self._dropped, None
        assert over is not None
        return self._system(gaps.dropped(over.count, self._limit.per_second, over.first_ns, over.last_ns), over.last_ns)

    def _system(self, text: str, at_ns: int) -> Line:
        """Skylark's own words, at the time of the lines around them; without any, now."""
        return at_ns or int(datetime.now(UTC).timestamp() * 1e9), SYSTEM, text.encode()


def _dated(lines: Sequence[Line], latest: int) -> Sequence[Line]:
    """What has no time (a damaged record) gets its predecessor's. The store sees to it that time does not go back."""
    if not lines or (min(map(_TIME, lines)) in TIMES and max(map(_TIME, lines)) in TIMES):
        return lines
    dated: list[Line] = []
    for at_ns, stream, message in lines:
        latest = at_ns if at_ns in TIMES else latest
        dated.append((latest, stream, message))
    return dated


def _last(lines: Sequence[Line], before: Position) -> tuple[int, int]:
    """The last line's time, and how many of the last lines bear it."""
    if not lines:
        return before.at_ns, before.count_at_ns
    at_ns, count = lines[-1][0], 0
    for line in reversed(lines):
        if line[0] != at_ns:
            return at_ns, count
        count += 1
    return at_ns, count + before.count_at_ns if at_ns == before.at_ns else count
