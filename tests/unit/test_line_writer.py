"""The writer of log lines: batches, waits, a store that fails and recovers, and an end that always comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from orchestrator.logs.store import LogStoreFull, NewLine
from tests.support.poll import eventually
from worker import line_writer
from worker.line_writer import LineWriter


class Store:
    """A log store in memory that fails while `full`, and waits while the gate is shut."""

    def __init__(self) -> None:
        self.lines: list[NewLine] = []
        self.batches: list[int] = []
        self.full = False
        self.tries = 0
        self.gate = threading.Event()
        self.gate.set()

    def append(self, batch: Sequence[NewLine]) -> None:
        self.tries += 1
        self.gate.wait(20)
        if self.full:
            raise LogStoreFull("log store: no room")
        self.lines += batch
        self.batches.append(len(batch))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def writer(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineWriter]:
    monkeypatch.setattr(line_writer, "_RETRY_SECONDS", 0.02)
    made = LineWriter(store)  # type: ignore[arg-type]
    made.start()
    yield made
    store.gate.set()
    made.stop()


def line(number: int, container: str = "c") -> NewLine:
    return NewLine("s", "i", container, number, "stdout", str(number).encode())


def test_lines_are_stored_in_order_by_the_time_flush_answers(writer: LineWriter, store: Store) -> None:
    for number in range(2500):
        writer.put(line(number))

    assert writer.flush(10)
    assert [found.at_ns for found in store.lines] == list(range(2500))


def test_lines_that_come_together_are_written_together(writer: LineWriter, store: Store) -> None:
    store.gate.clear()
    for number in range(300):
        writer.put(line(number))
    store.gate.set()
    writer.flush(10)

    assert len(store.batches) <= 3


def test_flush_without_lines_answers_at_once(writer: LineWriter) -> None:
    assert writer.flush(0)


def test_flush_says_when_lines_could_not_be_stored_in_time(writer: LineWriter, store: Store) -> None:
    store.full = True
    writer.put(line(1))

    assert not writer.flush(0.1)


def test_full_store_is_tried_again_told_once_and_loses_nothing(
    writer: LineWriter, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.full = True
    for number in range(10):
        writer.put(line(number))
    eventually(lambda: store.tries >= 5)
    store.full = False

    assert writer.flush(10)
    assert [found.at_ns for found in store.lines] == list(range(10))
    assert [r.levelname for r in caplog.records if "collection waits" in r.getMessage()] == ["ERROR"]


def test_lines_of_many_threads_are_each_stored_once(writer: LineWriter, store: Store) -> None:
    def write(container: str) -> None:
        for number in range(500):
            writer.put(line(number, container))

    threads = [threading.Thread(target=write, args=(f"c{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.flush(10)

    for name in ("c0", "c1", "c2", "c3"):
        assert [found.at_ns for found in store.lines if found.container_id == name] == list(range(500))


def test_stop_stores_what_was_put_before(store: Store) -> None:
    writer = LineWriter(store)  # type: ignore[arg-type]
    writer.start()
    for number in range(3000):
        writer.put(line(number))
    writer.stop()

    assert len(store.lines) == 3000


def test_stop_comes_to_an_end_with_a_full_queue_and_a_full_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(line_writer, "_QUEUE_LINES", 5)
    writer = LineWriter(store)  # type: ignore[arg-type]
    writer.start()
    store.full = True

    def fill() -> None:
        for number in range(2000):
            writer.put(line(number))

    threading.Thread(target=fill, daemon=True).start()
    eventually(lambda: store.tries >= 2)
    stopping = threading.Thread(target=writer.stop, daemon=True)
    stopping.start()
    stopping.join(5)

    assert not stopping.is_alive()
