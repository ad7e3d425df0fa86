"""A log writer whose lines are counted for Prometheus, those that a limit dropped too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.logs.gaps import dropped_count
from orchestrator.logs.lines import SYSTEM, Batch, LogWriter

Counted = Callable[[int, int, int], None]  # lines, bytes, lines dropped


class CountedLog:
    """The same writer; `counted` hears of what was stored, not of what failed."""

    def __init__(self, writer: LogWriter, counted: Counted) -> None:
        self._writer = writer
        self._counted = counted

    def append(self, batches: Sequence[Batch]) -> None:
        """Store them and count them. Raises LogStoreFull, LogStoreError; then nothing is counted."""
        self._writer.append(batches)
        lines = [line for batch in batches for line in batch.lines]
        dropped = sum(dropped_count(message) for _, stream, message in lines if stream == SYSTEM)
        self._counted(len(lines), sum(len(message) for _, _, message in lines), dropped)

    def position(self, container_id: str) -> str | None:
        """As the writer has it."""
        return self._writer.position(container_id)

    def forget_container(self, container_id: str) -> None:
        """As the writer does it."""
        self._writer.forget_container(container_id)
