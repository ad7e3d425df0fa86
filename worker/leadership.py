"""Holding the lease: renew it, begin to act when it comes, stop when it goes, and show signs of life."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.store.database import session_scope
from orchestrator.store.lease import Lease, beat

log = logging.getLogger("skylark.worker")


class Leadership:
    """`renew` is scheduled several times in a lease's life. `gained` and `lost` tell the worker to act or to rest."""

    def __init__(
        self,
        lease: Lease,
        sessions: sessionmaker[Session],
        clock: Callable[[], datetime],
        gained: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._lease = lease
        self._sessions = sessions
        self._clock = clock
        self._gained = gained
        self._lost = lost
        self._leading = False
        self._told_waiting = False
        self.seen: Mapping[str, tuple[datetime, str]] = {}  # engine URL -> when it last listed, its trouble

    def may_act(self) -> bool:
        """Whether the lease is ours at this very moment, by our own clock."""
        return self._lease.valid(time.monotonic())

    def renew(self) -> None:
        """Take or keep the lease; a database that fails costs the lease only when it fails for too long."""
        try:
            held = self._lease.acquire_or_renew(self._clock())
            if held:
                self._beat()
        except SQLAlchemyError as error:
            log.warning("lease can't be renewed: %s", str(error).splitlines()[0])
            held = self.may_act()
        if held and not self._leading:
            log.info("this worker leads")
            self._leading = True
            self._gained()
        elif not held and self._leading:
            log.warning("the lease is lost: this worker rests")
            self._leading = False
            self._lost()
        elif not held and not self._told_waiting:
            log.info("another worker leads: this one stands by")
            self._told_waiting = True

    def resign(self) -> None:
        """Give the lease back, so that a worker standing by need not wait."""
        try:
            if self._leading:
                self._lease.release()
        except SQLAlchemyError as error:
            log.warning("lease can't be released: %s", str(error).splitlines()[0])
        self._leading = False

    def _beat(self) -> None:
        with session_scope(self._sessions, write=True) as session:
            beat(session, "worker", self._clock())
            for url, (at, trouble) in dict(self.seen).items():
                beat(session, f"engine:{url}", at, trouble)
