"""Going on with a container's log where the store has it: what to ask the engine for, and what to skip. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from orchestrator.engine.base import LogLine

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Moment:
    """How far a container's log is stored: up to `at_ns`, of which `count_at_ns` lines bear that very time."""

    at_ns: int
    count_at_ns: int


def since_seconds(position: Moment | None) -> int:
    """The `since_seconds` to ask the engine for: whole seconds, one early because stamps may be a little unordered."""
    return 0 if position is None else max(0, position.at_ns // _SECOND_NS - 1)


class Resumed:
    """The lines not stored yet, out of those the engine gives from `since_seconds(position)` on.

    An engine stamps stdout and stderr side by side, so a line may bear an earlier time than the one before it.
    Here (and in the store) time never goes back: such a line gets the time of its predecessor. So the stored lines
    are always a prefix of the engine's, and skipping them can neither lose nor double one.

    Example: position (12, 2); the engine gives 10, 12, 11, 12, 13. As time never goes back that is 10, 12, 12, 12, 13:
    10 is stored, two of the 12s are, and the answer is 12, 13. `met`: the stored line was among them, as it must be
    unless the engine has rotated it away.
    """

    def __init__(self, position: Moment | None) -> None:
        self._position = position
        self.met = False

    def of(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """The new ones of these."""
        position, latest, seen = self._position, 0, 0
        for line in lines:
            latest = max(latest, line.at_ns)
            if position is not None and latest <= position.at_ns:
                self.met = True
                seen += latest == position.at_ns
                if latest < position.at_ns or seen <= position.count_at_ns:
                    continue
            yield line if line.at_ns == latest else replace(line, at_ns=latest)
