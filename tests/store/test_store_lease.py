"""The lease: one worker acts, another takes over in time, and never too early."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from threading import Barrier, Thread

import pytest
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.store.database import session_scope
from orchestrator.store.lease import Lease, beat, is_dead, read_start_time, this_holder
from orchestrator.store.reads import Reads
from tests.store.processes import start
from tests.store.samples import NOW, later

Sessions = sessionmaker[Session]


@dataclass
class Clock:
    """A monotonic clock that stands still until it is set."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def a_lease(sessions: Sessions, holder: str, clock: Clock | None = None) -> Lease:
    return Lease(sessions, holder, 6.0, clock or Clock())


def test_second_worker_waits_until_the_lease_expires(sessions: Sessions) -> None:
    first, second = a_lease(sessions, "a:1:1"), a_lease(sessions, "b:1:1")

    assert first.acquire_or_renew(NOW)
    assert not second.acquire_or_renew(later(5.9))
    assert second.acquire_or_renew(later(6))
    assert not first.acquire_or_renew(later(7))


def test_renewed_lease_goes_on(sessions: Sessions) -> None:
    first, second = a_lease(sessions, "a:1:1"), a_lease(sessions, "b:1:1")
    first.acquire_or_renew(NOW)

    assert first.acquire_or_renew(later(4))
    assert not second.acquire_or_renew(later(9))


def test_released_lease_is_free_at_once(sessions: Sessions) -> None:
    first, second = a_lease(sessions, "a:1:1"), a_lease(sessions, "b:1:1")
    first.acquire_or_renew(NOW)
    first.release()

    assert not first.valid(1000.0)
    assert second.acquire_or_renew(later(0.1))


def test_releasing_the_lease_of_another_leaves_it(sessions: Sessions) -> None:
    first, second = a_lease(sessions, "a:1:1"), a_lease(sessions, "b:1:1")
    first.acquire_or_renew(NOW)
    second.release()

    assert not second.acquire_or_renew(later(1))


def test_paused_worker_notices_by_its_own_clock_before_another_may_act(sessions: Sessions) -> None:
    clock = Clock()
    paused, other = a_lease(sessions, "a:1:1", clock), a_lease(sessions, "b:1:1")
    paused.acquire_or_renew(NOW)

    assert paused.valid(clock.now + 5.9)
    assert not paused.valid(clock.now + 6.0)
    assert other.acquire_or_renew(later(6))


def test_lost_lease_is_not_valid(sessions: Sessions) -> None:
    clock = Clock()
    first, second = a_lease(sessions, "a:1:1", clock), a_lease(sessions, "b:1:1")
    assert not first.valid(clock.now)
    first.acquire_or_renew(NOW)
    second.acquire_or_renew(later(6))
    first.acquire_or_renew(later(6.1))

    assert not first.valid(clock.now)


def test_many_workers_at_once_yield_one_holder(sessions: Sessions) -> None:
    barrier, won = Barrier(6), []

    def compete(number: int) -> None:
        lease = a_lease(sessions, f"host{number}:1:1")
        barrier.wait()
        if lease.acquire_or_renew(NOW):
            won.append(number)

    threads = [Thread(target=compete, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert len(won) == 1


def test_killed_worker_of_this_host_is_followed_at_once(
    database_url: str, open_database: Callable[[str], Sessions]
) -> None:
    process = start("lease", database_url)
    assert process.stdout is not None
    assert process.stdout.readline().split()[1] == "True"
    second = a_lease(open_database(database_url), this_holder())

    process.send_signal(signal.SIGSTOP)
    assert not second.acquire_or_renew(NOW), "a paused worker is alive"
    process.kill()
    process.wait(timeout=30)
    assert second.acquire_or_renew(NOW)


@pytest.mark.parametrize(
    ("holder", "dead"),
    [
        ("box:7:100", True),  # no such process
        ("box:8:100", True),  # the pid belongs to another process now
        ("box:8:250", False),
        ("elsewhere:7:100", False),  # not ours to know
        ("a name of long ago", False),
        ("box:x:y", False),
    ],
)
def test_holder_is_dead_only_when_its_process_is_known_to_be_gone(holder: str, dead: bool) -> None:
    running = {8: 250}
    assert is_dead(holder, "box:9:300", running.get) is dead


def test_own_start_time_is_read_and_that_of_a_missing_process_is_not() -> None:
    assert (read_start_time(os.getpid()) or 0) > 0
    assert read_start_time(2**22 + 1) is None


def test_zombie_counts_as_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert read_start_time(child) is None
    finally:
        os.waitpid(child, 0)


def test_heartbeat_keeps_the_last_sign_of_life(sessions: Sessions) -> None:
    with session_scope(sessions, write=True) as session:
        beat(session, "worker", NOW, "engine away", 0.5)
        beat(session, "worker", later(5))

    with session_scope(sessions) as session:
        found = Reads(session).heartbeat("worker")
    assert found is not None
    assert (found.at, found.trouble, found.lag_seconds) == (later(5), "", 0.0)
