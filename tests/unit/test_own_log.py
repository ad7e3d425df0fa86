"""Skylark's own log in the log store: each line once, in order, never in the way of what logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from orchestrator.logs.lines import SKYLARK, SYSTEM, Batch
from tests.support.log_memory import LogMemory
from tests.support.poll import eventually
from worker import own_log
from worker.own_log import OwnLog

log = logging.getLogger("skylark.reconciler")


class Store(LogMemory):
    """A store that tells its trouble in the very log it stores."""

    def append(self, batches: list[Batch]) -> None:  # type: ignore[override]
        if self.broken:
            log.error("store: %s", self.broken)
        super().append(batches)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def own(store: Store) -> Iterator[OwnLog]:
    logging.getLogger().setLevel(logging.DEBUG)
    made = OwnLog(store, lambda: True)
    made.begin()
    yield made
    made.end()


def messages(store: Store) -> list[str]:
    return [line.message for line in store.lines if "skylark" in line.service_uuid]


def test_records_of_skylark_become_lines_of_its_own_log(store: Store, own: OwnLog) -> None:
    log.info("action", extra={"fields": {"service": "ns/web", "reason": "slot 0 has no instance"}})
    log.debug("a detail")
    logging.getLogger("somebody.else").info("of no concern")
    logging.getLogger("apscheduler").warning("missed")
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        log.exception("pass failed")
    eventually(lambda: len(store.lines) == 3)

    assert messages(store) == [
        'INFO action service=ns/web reason="slot 0 has no instance"',
        "WARNING missed",
        'ERROR pass failed error="ValueError: bad\\nvalue"',
    ]
    (line, *_) = store.lines
    assert (line.service_uuid, line.instance_uuid, line.stream) == (SKYLARK, "worker", SYSTEM)


def test_lines_wait_while_the_store_is_in_trouble_and_its_words_do_not_feed_it(store: Store, own: OwnLog) -> None:
    store.broken = "disk full"
    for number in range(50):
        log.info("line %d", number)
    eventually(lambda: len(own._waiting) == 50)
    store.broken = ""
    eventually(lambda: len(store.lines) == 50)

    assert messages(store) == [f"INFO line {number}" for number in range(50)]


def test_too_many_waiting_lines_are_dropped_and_counted(
    store: Store, own: OwnLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_log, "MOST_WAITING", 10)
    store.broken = "disk full"
    for number in range(25):
        log.info("line %d", number)
    eventually(lambda: own._dropped + len(own._waiting) == 25 and own._waiting)
    store.broken = ""
    eventually(lambda: store.lines)

    assert messages(store)[0] == "WARNING 15 lines dropped: the log store could not be written in time"
    assert messages(store)[1:] == [f"INFO line {number}" for number in range(15, 25)]


def test_worker_that_does_not_lead_writes_nothing_until_it_does(store: Store) -> None:
    leading: list[bool] = []
    own = OwnLog(store, lambda: bool(leading))
    own.begin()
    log.warning("waits for the lease")
    eventually(lambda: own._waiting)
    assert not store.lines
    leading.append(True)
    eventually(lambda: messages(store) == ["WARNING waits for the lease"])
    log.warning("last words")
    own.end()
    assert messages(store)[-1] == "WARNING last words"


def test_record_that_cannot_be_formatted_is_told_as_loggings_own_handlers_do_and_harms_no_caller(
    store: Store, own: OwnLog, capsys: pytest.CaptureFixture[str]
) -> None:
    own.handle(log.makeRecord(log.name, logging.WARNING, __file__, 1, "%d lines", ("many",), None))
    log.info("and on")
    eventually(lambda: store.lines)

    assert messages(store) == ["INFO and on"]
    assert "--- Logging error ---" in capsys.readouterr().err
