"""Log lines as values, and what collectors and readers see of the log store. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

STDOUT, STDERR, SYSTEM = 1, 2, 3  # SYSTEM: Skylark's own words in a service's log ("40 lines dropped: ...")
PAGE_BYTES = 8 * 1024 * 1024  # of messages: an answer that is held in memory ends early when they are so long
STREAM_NAMES = {STDOUT: "stdout", STDERR: "stderr", SYSTEM: "skylark"}


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of lines of one container, in its order, and where to go on reading behind them.

    `lines`: (at_ns, stream, message): epoch nanoseconds; the message without its line end, in whatever encoding.
    `position`: the collector's own words, kept as they are; stored in the transaction of the lines.
    """

    service_uuid: str
    instance_uuid: str
    container_id: str
    lines: Sequence[tuple[int, int, bytes]]
    position: str


class StoredLine(NamedTuple):  # a tuple is made three times as fast as a frozen dataclass, and a range has many
    """A line as read back; bytes that are no UTF-8 are replaced. `cursor`: opaque text; reading goes on behind it.

    `number`: of its storing, in the numbers of `latest` and `appended`; no two lines have the same, and what is stored
    later has a higher one. A follower needs it: reading in the order of time it knows which lines `appended` gives too.
    """

    service_uuid: str
    instance_uuid: str
    at_ns: int
    stream: int
    message: str
    cursor: str
    number: int = 0


@dataclass(frozen=True)
class Wanted:
    """Which lines: a service's (or the installation's own, `SKYLARK`), in [start_ns, end_ns], both included.

    `instance`: one instance's uuid, or its first 8 digits or more; `query`: text that the message holds, any case;
    `after`: a cursor of the same question; `limit`: at most so many lines, the first of them or with `newest` the last,
    of which there are fewer (one at least) where their messages are above `PAGE_BYTES` together.
    """

    service_uuid: str
    start_ns: int
    end_ns: int
    instance: str | None = None
    stream: int | None = None
    query: str = ""
    after: str = ""
    limit: int | None = None
    newest: bool = False


def fits(wanted: Wanted, line: StoredLine) -> bool:
    """Whether a line is one of the wanted ones, as `read` would answer it; `after` and `limit` are not looked at."""
    return (
        line.service_uuid == wanted.service_uuid
        and wanted.start_ns <= line.at_ns <= wanted.end_ns
        and (wanted.instance is None or line.instance_uuid.startswith(wanted.instance))
        and (wanted.stream is None or line.stream == wanted.stream)
        and (not wanted.query or wanted.query.lower() in line.message.lower())
    )


SKYLARK = "skylark"  # as service_uuid: the reconciler's own log


class LogWriter(Protocol):
    """What collectors need. Raises LogStoreFull or LogStoreError; a failed append may be given again as it is."""

    def append(self, batches: Sequence[Batch]) -> None:
        """Store lines and positions in one transaction."""

    def position(self, container_id: str) -> str | None:
        """The position stored with the container's last batch, None: nothing of it is."""

    def forget_container(self, container_id: str) -> None:
        """The container is removed: its position goes, its lines stay."""


class LogReader(Protocol):
    """What the API needs. Any number of processes may read while one writes."""

    def read(self, wanted: Wanted) -> Iterator[StoredLine]:
        """Oldest first over all instances; memory does not grow with the range.

        Raises LogStoreError, and ValueError for an `after` that is no cursor.
        """

    def latest(self) -> int:
        """A number that grows with every append: what a follower starts from."""

    def appended(self, after: int) -> tuple[int, Sequence[StoredLine]]:
        """Lines of all services appended after that number, in the order of storing, and the number to go on from.

        At most some thousands at a time. A follower asks this once for all its clients.
        """

    def days(self, service_uuid: str) -> Sequence[str]:
        """Days (UTC, YYYYMMDD) on which it has lines, oldest first."""
