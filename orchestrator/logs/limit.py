"""How many lines of a service are kept in a second; the others are counted. Pure: time is the lines' own.

By the lines' time, not by ours: what a worker reads late, after a restart, is no flood. Counted in stretches of some
seconds, each by itself, so that neither instances read one after another nor a clock that is set can upset it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from orchestrator.logs.record import Line

STRETCH_SECONDS = 5
_STRETCH_NS = STRETCH_SECONDS * 1_000_000_000
_STRETCHES_KEPT = 32


@dataclass(frozen=True)
class Dropped:
    """So many lines, from the time of the first to that of the last."""

    count: int
    first_ns: int
    last_ns: int

    def plus(self, other: Dropped | None) -> Dropped:
        """Both together."""
        if other is None:
            return self
        return Dropped(self.count + other.count, min(self.first_ns, other.first_ns), max(self.last_ns, other.last_ns))


class LineLimit:
    """The limit of one service: `per_second` on average over five seconds, in whatever burst."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._most = per_second * STRETCH_SECONDS
        self._counts: dict[int, int] = {}  # by stretch

    def admit(self, lines: Sequence[Line]) -> Iterator[tuple[Sequence[Line], Dropped | None]]:
        """Runs of lines to keep, each with what was dropped behind it. `lines` in their order."""
        if not lines:
            return
        first = lines[0][0] // _STRETCH_NS
        room = self._most - self._counts.get(first, 0)
        if len(lines) <= room and first == lines[-1][0] // _STRETCH_NS:
            self._count(first, len(lines))  # a step back in between counts here too: no harm
            yield lines, None
            return
        for stretch, group in groupby(lines, lambda line: line[0] // _STRETCH_NS):
            run = list(group)
            room = max(0, self._most - self._counts.get(stretch, 0))
            self._count(stretch, min(room, len(run)))
            over = run[room:]
            yield run[:room], Dropped(len(over), over[0][0], over[-1][0]) if over else None

    def _count(self, stretch: int, number: int) -> None:
        self._counts[stretch] = self._counts.get(stretch, 0) + number
        while len(self._counts) > _STRETCHES_KEPT:
            del self._counts[next(iter(self._counts))]
