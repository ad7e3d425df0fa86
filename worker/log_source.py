"""Where a container's lines come from: what the collector asks of a log file and of an engine's stream alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from orchestrator.logs.jsonfile import JsonFile
from orchestrator.logs.localfile import LocalFile
from orchestrator.logs.position import Position
from orchestrator.logs.record import NONE, TIMES, Joiner, Line, LogFormat, Skip
from orchestrator.logs.tail import FileTail, Place

FORMATS: dict[str, type[JsonFile] | type[LocalFile]] = {"json-file": JsonFile, "local": LocalFile}


@dataclass(frozen=True)
class Taken:
    """Lines and, behind them, where to read on. `gap`: what may be missing before them, in words."""

    lines: Sequence[Line]
    place: Place | None = None
    skip: Skip = NONE
    gap: str = ""
    late: bool = False  # filled in behind others that came before: where to read on does not change


class Source(Protocol):
    """One container's log, read in bites by the collector's thread."""

    def pending(self) -> bool:
        """Whether there may be something to take: cheap. Raises FileNotFoundError, LogEnded, EngineError."""

    def take(self, most_bytes: int) -> Taken | None:
        """The next lines; None: none now. Raises OSError, EngineError."""

    def through(self) -> bool:
        """With the container ended and nothing taken: whether that was all, or more is under way."""

    def finish(self) -> Taken | None:
        """The container has ended and all is taken: the last line may lack its line end."""

    def lost(self) -> bool:
        """Its file is missing: whether for good, as its container is removed."""

    def rest(self) -> None:
        """Nothing came for a while."""

    def close(self) -> None:
        """Give everything back."""


class FileSource:
    """The engine's own log file, read through rotation."""

    def __init__(self, path: str, driver: str, most_files: int, position: Position | None) -> None:
        self._form: LogFormat = FORMATS[driver]()
        place = position.place if position else None
        self.tail = FileTail(path, self._form, place, most_files=most_files)
        self.tail.last_ns = position.at_ns if position else 0
        skip = position.skip if position else NONE
        self._joiner: Joiner[Place] = Joiner(skip)
        self._skip = skip.lines
        # Stored by a stream before: what it had is known by its time
        self._had = position if position and position.at_ns and not place else None

    def pending(self) -> bool:
        return self.tail.pending()

    def take(self, most_bytes: int) -> Taken | None:
        block = self.tail.read(most_bytes)
        if block is None:
            return None
        lines = self._form.lines(block.data) if self._joiner.idle else None
        if lines is None:
            records = list(self._form.records(block.data))
            lines = list(self._joiner.join(records, block.marks(records)))
        if self._had is not None:
            lines = self._not_had(lines, self._had)
        if lines and lines[-1][0] in TIMES:
            self.tail.last_ns = max(self.tail.last_ns, lines[-1][0])
        if block.gap:  # what was to be left out may be what is missing: rather twice than not at all
            self._skip = 0
        left = max(0, self._skip - len(lines))
        lines, self._skip = lines[self._skip :], left
        if left:  # still among what is stored: the stored position holds
            return Taken(lines, gap=block.gap)
        place, skip = self._joiner.resume(block.end)
        return Taken(lines, place, skip, block.gap)

    def _not_had(self, lines: list[Line], had: Position) -> list[Line]:
        """Without the lines up to a stream's position; the first behind it ends the search."""
        number = 0
        for at_ns, _, _ in lines:
            if at_ns > had.at_ns or (at_ns == had.at_ns and had.count_at_ns <= 0):
                self._had = None
                break
            if at_ns == had.at_ns:
                had = self._had = replace(had, count_at_ns=had.count_at_ns - 1)
            number += 1
        return lines[number:]

    def through(self) -> bool:
        return True

    def lost(self) -> bool:
        return not self.tail.has_home()

    def finish(self) -> Taken | None:
        lines = self._joiner.finish()
        return Taken(lines, self.tail.place) if lines else None

    def rest(self) -> None:
        self.tail.rest()

    def close(self) -> None:
        self.tail.close()
