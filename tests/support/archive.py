"""Short words for batches and questions of the log archive, and a clock to set."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.logs.lines import STDOUT, Batch, StoredLine, Wanted

DAY_NS = 86_400_000_000_000
NOON = 1_772_366_400_000_000_000  # 2026-03-01 12:00 UTC


class Clock:
    """Epoch ns, as `LogArchive` asks for it."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def batch(container: str, *lines: tuple[int, str], service: str = "s", position: str = "p") -> Batch:
    """Lines (time, message) of a container, whose instance bears its name."""
    return Batch(service, container, container, [(at, STDOUT, text.encode()) for at, text in lines], position)


def wanted(
    start_ns: int = 0,
    end_ns: int = 2**62,
    *,
    service: str = "s",
    instance: str | None = None,
    stream: int | None = None,
    query: str = "",
    after: str = "",
    limit: int | None = None,
    newest: bool = False,
) -> Wanted:
    """A question; of everything unless told otherwise."""
    return Wanted(service, start_ns, end_ns, instance, stream, query, after, limit, newest)


def texts(lines: Iterable[StoredLine]) -> list[str]:
    """The messages."""
    return [line.message for line in lines]
