"""When passes run: requests gathered, delays honoured, failures retried, nothing without the lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator

import pytest

from tests.support.poll import eventually
from worker import pass_loop
from worker.pass_loop import PassLoop

Passes = list[tuple[float, Collection[str] | None]]
Loops = Callable[..., PassLoop]
Note = Callable[[Collection[str] | None], None]


@pytest.fixture
def loops() -> Iterator[Callable[..., PassLoop]]:
    made: list[PassLoop] = []

    def make(run: Callable[[Collection[str] | None], None], may_run: Callable[[], bool] = lambda: True) -> PassLoop:
        made.append(PassLoop(run, may_run))
        made[-1].start()
        return made[-1]

    yield make
    for loop in made:
        loop.stop(5)


@pytest.fixture
def passes() -> Passes:
    return []


@pytest.fixture
def note(passes: Passes) -> Callable[[Collection[str] | None], None]:
    return lambda uuids: passes.append((time.monotonic(), None if uuids is None else sorted(uuids)))


def test_request_runs_a_pass_over_its_service_at_once(loops: Loops, note: Note, passes: Passes) -> None:
    loop = loops(note)
    asked = time.monotonic()
    loop.request("a")
    eventually(lambda: passes, 5, 0.001)

    assert passes[0][1] == ["a"]
    assert passes[0][0] - asked < 1


def test_burst_of_requests_shares_one_pass(loops: Loops, passes: Passes) -> None:
    gate, started = threading.Event(), threading.Event()

    def slow(uuids: Collection[str] | None) -> None:
        passes.append((0.0, None if uuids is None else sorted(uuids)))
        started.set()
        gate.wait(5)

    loop = loops(slow)
    loop.request("first")
    started.wait(5)
    for _ in range(50):
        loop.request("b")
        loop.request("a")
    gate.set()
    eventually(lambda: len(passes) == 2, 5, 0.001)

    assert passes[1][1] == ["a", "b"]


def test_full_pass_takes_the_due_services_along(loops: Loops, passes: Passes, note: Note) -> None:
    allowed = threading.Event()
    loop = loops(note, allowed.is_set)
    loop.request("a")
    loop.request()
    allowed.set()
    eventually(lambda: passes, 5, 0.001)
    threading.Event().wait(0.1)

    assert [uuids for _, uuids in passes] == [None]


def test_delay_is_honoured_and_an_earlier_request_wins(loops: Loops, note: Note, passes: Passes) -> None:
    loop = loops(note)
    asked = time.monotonic()
    loop.request("late", 30)
    loop.request("soon", 5)
    loop.request("soon", 0.2)
    loop.request("soon", 5)
    eventually(lambda: passes, 5, 0.001)

    assert passes[0][1] == ["soon"]
    assert 0.2 <= passes[0][0] - asked < 3


def test_delayed_request_does_not_hold_up_one_that_is_due(loops: Loops, note: Note, passes: Passes) -> None:
    loop = loops(note)
    loop.request("late", 30)
    loop.request("now")
    eventually(lambda: passes, 5, 0.001)

    assert passes[0][1] == ["now"]


def test_failing_pass_is_retried_over_all(loops: Loops, passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_loop, "RETRY_SECONDS", 0.1)

    def run(uuids: Collection[str] | None) -> None:
        passes.append((0.0, uuids))
        if len(passes) == 1:
            raise RuntimeError("database is locked")

    loops(run).request("a")
    eventually(lambda: len(passes) == 2, 5, 0.01)

    assert passes[1][1] is None


def test_nothing_runs_without_the_lease_and_no_request_is_lost(loops: Loops, note: Note, passes: Passes) -> None:
    leading = threading.Event()
    loop = loops(note, leading.is_set)
    loop.request("a")
    threading.Event().wait(0.3)
    assert passes == []

    leading.set()
    eventually(lambda: passes, 5, 0.01)
    assert passes[0][1] == ["a"]


def test_passes_never_overlap(loops: Loops) -> None:
    running, most, count = threading.Semaphore(1), [0], [0]

    def run(uuids: Collection[str] | None) -> None:
        if not running.acquire(blocking=False):
            most[0] += 1
        count[0] += 1
        threading.Event().wait(0.005)
        running.release()

    loop = loops(run)
    eventually(lambda: loop.request(str(count[0])) or count[0] >= 5, 10, 0.001)

    assert most[0] == 0


def test_stop_waits_for_the_pass_in_hand() -> None:
    started, ended = threading.Event(), threading.Event()

    def run(uuids: Collection[str] | None) -> None:
        started.set()
        threading.Event().wait(0.2)
        ended.set()

    loop = PassLoop(run, lambda: True)
    loop.start()
    loop.request()
    started.wait(5)
    loop.stop()

    assert ended.is_set()
