"""One container's log by the engine's stream: how much of it waits in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

from orchestrator.engine.base import Engine, LogLine
from tests.support.log_files import START_NS
from tests.support.poll import eventually
from worker.log_streams import StreamSource

MIB = 1024 * 1024


class Flood:
    """An engine whose container wrote lines of a megabyte; `asked`: how many were fetched."""

    def __init__(self) -> None:
        self.asked = 0
        self.ended = threading.Event()

    def logs(self, container_id: str, **_: Any) -> Iterator[LogLine]:
        for number in range(40):
            self.asked = number + 1
            yield LogLine(START_NS + number, "stdout", b"x" * MIB)
        self.ended.wait(15)


def test_stream_is_held_back_by_what_waits_in_bytes_and_goes_on_when_it_is_taken() -> None:
    flood = Flood()
    source = StreamSource(cast(Engine, flood), "c", None, 1 << 40, lambda: None)
    source.pending()
    eventually(lambda: flood.asked == 5, 3)  # four wait, and the fifth is held back
    taken = 0
    while taken < 40:
        eventually(source.pending)
        lines = source.take(256 * 1024)
        taken += len(lines.lines) if lines else 0
        assert flood.asked - taken <= 5
    source.close()
    flood.ended.set()

    assert not source.pending()
