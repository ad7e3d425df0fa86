"""Storing what was read: nothing is given up for the store's faults, and one bad batch does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from orchestrator.logs.errors import LogStoreFull
from orchestrator.logs.lines import STDOUT, SYSTEM, Batch
from tests.support.log_files import START_NS, MemoryLogs
from tests.support.poll import eventually
from worker import log_storing
from worker.log_storing import LogStoring


class Picky(MemoryLogs):
    """A store that fails with `fault` when one of the given lines is `refused`; with None always."""

    def __init__(self, fault: Exception, refused: bytes | None = b"bad", times: int = 10**9) -> None:
        super().__init__()
        self.fault, self.refused, self.times = fault, refused, times

    def append(self, batches: Sequence[Batch]) -> None:
        said = [message for batch in batches for _, _, message in batch.lines]
        if self.times > 0 and (self.refused is None or self.refused in said):
            self.times -= 1
            raise self.fault
        super().append(batches)


def batch(name: str, *said: str) -> Batch:
    return Batch(f"s{name}", f"i{name}", name, [(START_NS, STDOUT, text.encode()) for text in said], f"behind {name}")


BATCHES = [batch("a", "one"), batch("b", "good", "bad"), batch("c", "three")]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_storing, "_RETRY_SECONDS", 0.02)


def store(picky: Picky, batches: Sequence[Batch] = BATCHES) -> bool:
    return LogStoring(picky, threading.Event()).store(batches, lambda: True)


@pytest.mark.parametrize("batches", [BATCHES, BATCHES[1:2]], ids=["beside others", "alone"])
def test_batch_that_the_store_refuses_is_left_out_and_told(
    batches: Sequence[Batch], caplog: pytest.LogCaptureFixture
) -> None:
    picky = Picky(OverflowError("int too large"))

    assert store(picky, batches)
    told = "2 lines left out: the log store can't take them (OverflowError: int too large)"
    assert picky.lines("b") == [(START_NS, SYSTEM, told.encode())]
    assert picky.messages() == ["one", "three"] * (len(batches) > 1)
    assert picky.positions == {b.container_id: b.position for b in batches}
    (error,) = [r for r in caplog.records if r.getMessage().startswith("lines left out")]
    assert error.__dict__["fields"] == {"service": "sb", "container": "b", "lines": 2}


def test_fault_that_passes_costs_no_line() -> None:
    picky = Picky(RuntimeError("just now"), times=1)

    assert store(picky)
    assert picky.messages() == ["one", "good", "bad", "three"]


@pytest.mark.parametrize("fault", [LogStoreFull("no room"), MemoryError()])
def test_store_in_trouble_keeps_every_line_waiting(fault: Exception) -> None:
    picky = Picky(fault, times=5)

    assert store(picky)
    assert picky.messages() == ["one", "good", "bad", "three"]


def test_store_that_takes_nothing_at_all_moves_no_position_on() -> None:
    picky, stopping = Picky(RuntimeError("broken"), refused=None), threading.Event()
    storing = LogStoring(picky, stopping)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(storing.store(BATCHES, lambda: True)))
    thread.start()
    eventually(lambda: picky.times < 10**9 - 5)
    stopping.set()
    thread.join(15)

    assert answers == [False]
    assert picky.positions == {}


def test_trouble_between_lone_batches_doubles_none_of_them() -> None:
    class Full(Picky):
        def append(self, batches: Sequence[Batch]) -> None:
            if batches == [BATCHES[2]] and not troubles:
                troubles.append(batches)
                raise LogStoreFull("no room")
            super().append(batches)

    troubles: list[Sequence[Batch]] = []
    picky = Full(OverflowError())

    assert store(picky)
    assert troubles
    assert picky.messages() == ["one", "three"]
