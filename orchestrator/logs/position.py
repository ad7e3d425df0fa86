"""The collector's words for how far a container's log is stored, as text in the log store. Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from orchestrator.logs.limit import Dropped
from orchestrator.logs.record import NONE, Skip
from orchestrator.logs.tail import Place


@dataclass(frozen=True)
class Position:
    """Stored up to `at_ns`, of which `count_at_ns` lines bear that very time.

    `place`: where to read on in a log file, leaving out the lines of `skip`, which are stored; None: it was read by the
    engine's stream. `dropped`: lines beyond the limit that the log does not tell of yet.
    """

    at_ns: int = 0
    count_at_ns: int = 0
    place: Place | None = None
    skip: Skip = NONE
    dropped: Dropped | None = None

    def text(self) -> str:
        """As the store keeps it."""
        words: dict[str, object] = {"ns": self.at_ns, "count": self.count_at_ns}
        if self.place is not None:
            tail = base64.b64encode(self.place.tail).decode()
            words["file"] = [self.place.inode, self.place.offset, tail]
        if self.skip.held:
            words["skip"] = list(self.skip)
        elif self.skip.lines:
            words["skip"] = self.skip.lines
        if self.dropped is not None:
            words["dropped"] = [self.dropped.count, self.dropped.first_ns, self.dropped.last_ns]
        return json.dumps(words, separators=(",", ":"))


def read_position(text: str | None) -> Position | None:
    """The position of such a text. Raises ValueError when it is another's."""
    if text is None:
        return None
    try:
        words = json.loads(text)
        place = dropped = None
        if "file" in words:
            inode, offset, tail = words["file"]
            place = Place(int(inode), int(offset), base64.b64decode(tail))
        if "dropped" in words:
            dropped = Dropped(*map(int, words["dropped"]))
        skip = words.get("skip", 0)
        skipped = Skip(*map(int, skip)) if isinstance(skip, list) else Skip(int(skip))
        return Position(int(words["ns"]), int(words["count"]), place, skipped, dropped)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"not a position of this collector: {text[:100]!r}") from error
