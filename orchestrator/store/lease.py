"""Who may act: the worker's lease in the database, and the signs of life that show its age."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import CursorResult, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.store.database import session_scope
from orchestrator.store.schema import HeartbeatRow, LeaseRow

LEASE_NAME = "worker"
StartTime = Callable[[int], int | None]  # pid -> start time in clock ticks since boot, None when it is dead


class Lease:
    """The right to act, held by one worker of an installation at a time. `clock` is monotonic, in seconds.

    A worker acts only while `valid(clock())`: it then stops acting by its own clock at the moment when another
    may begin, even if it was paused (suspended, swapped, stopped) in between and nobody told it.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        holder: str,
        lease_seconds: float,
        clock: Callable[[], float],
        *,
        start_time: StartTime | None = None,
    ) -> None:
        self._sessions = sessions
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._start_time = start_time or read_start_time
        self._renewed_at: float | None = None

    def acquire_or_renew(self, now: datetime) -> bool:
        """Whether the lease is ours for the next `lease_seconds`. `now`: wall clock, to be read just before."""
        begun = self._clock()  # before the write: our own view must end no later than the row's
        won = self._try(now)
        self._renewed_at = begun if won else None
        return won

    def valid(self, monotonic_now: float) -> bool:
        """Whether we may act now, without asking anybody."""
        return self._renewed_at is not None and monotonic_now - self._renewed_at < self._lease_seconds

    def release(self) -> None:
        """Give the lease up, so that another worker need not wait. No error when it is not ours."""
        self._renewed_at = None
        with session_scope(self._sessions, write=True) as session:
            session.execute(delete(LeaseRow).where(LeaseRow.name == LEASE_NAME, LeaseRow.holder == self._holder))

    def _try(self, now: datetime) -> bool:
        """Compare and swap: the row changes only if it still is as we saw it when we decided."""
        expires_at = now + timedelta(seconds=self._lease_seconds)
        ours = {"holder": self._holder, "acquired_at": now, "expires_at": expires_at}
        try:
            with session_scope(self._sessions, write=True) as session:
                seen = session.execute(
                    select(LeaseRow.holder, LeaseRow.expires_at).where(LeaseRow.name == LEASE_NAME)
                ).one_or_none()
                if seen is None:
                    session.execute(insert(LeaseRow).values(name=LEASE_NAME, **ours))
                    return True
                renewing = seen.holder == self._holder
                if not renewing and seen.expires_at > now and not is_dead(seen.holder, self._holder, self._start_time):
                    return False
                result = session.execute(
                    update(LeaseRow)
                    .where(
                        LeaseRow.name == LEASE_NAME,
                        LeaseRow.holder == seen.holder,
                        LeaseRow.expires_at == seen.expires_at,
                    )
                    .values(**({"expires_at": expires_at} if renewing else ours))
                )
                return isinstance(result, CursorResult) and result.rowcount == 1
        except IntegrityError:  # PostgreSQL: another worker wrote the first row between our look and our insert
            return False


def is_led(sessions: sessionmaker[Session], now: datetime) -> bool:
    """Whether a worker holds the lease, as far as one can know."""
    with session_scope(sessions) as session:
        row = session.get(LeaseRow, LEASE_NAME)
        return row is not None and row.expires_at > now and not is_dead(row.holder, this_holder(), read_start_time)


def this_holder() -> str:
    """Our name as a holder: host:pid:starttime. The host part includes the pid namespace, as in "box-4026531836".

    Containers may share a host name; a pid of one says nothing in the other.
    """
    namespace = os.stat("/proc/self/ns/pid").st_ino
    return f"{socket.gethostname()}-{namespace}:{os.getpid()}:{read_start_time(os.getpid())}"


def is_dead(holder: str, asking: str, start_time: StartTime) -> bool:
    """Whether `holder` is known to be dead: on the host of `asking`, and its process is gone or is another one now.

    Example: "box:7:100" asked about by "box:9:300" is dead when pid 7 does not exist or started at 250, not at 100.
    What cannot be known (another host, an unreadable name) is not dead: its lease has to run out.
    """
    try:
        host, pid, started = holder.rsplit(":", 2)
        own_host = asking.rsplit(":", 2)[0]
        return host == own_host and start_time(int(pid)) != int(started)
    except ValueError:
        return False


def read_start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None when there is none, or only its zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the command before ')' may contain anything
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def beat(session: Session, name: str, now: datetime, trouble: str = "", lag_seconds: float = 0.0) -> None:
    """Write a sign of life of `name` ("worker" or "engine:<url>"); the caller commits."""
    upsert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = {"at": now, "trouble": trouble, "lag_seconds": lag_seconds}
    statement = upsert(HeartbeatRow).values(name=name, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))
