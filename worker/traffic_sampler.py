"""Reads the proxy's counters now and then, and keeps what is new in the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.ingress.live import StatRow
from orchestrator.ingress.runtime import ProxyError
from orchestrator.ingress.traffic import count
from orchestrator.store.database import session_scope
from orchestrator.store.traffic import Traffic

log = logging.getLogger("skylark.ingress")

SAMPLE_SECONDS = 10.0
KEPT_DAYS = 7


class Counters(Protocol):
    """The part of the proxy that is read."""

    def backend_stats(self) -> tuple[StatRow, ...]:
        """Counters of all backends in all of the proxy's workers."""


class TrafficSampler:
    """`sample` is a scheduled job of the worker that leads. Nothing is remembered here but what a reload would lose."""

    def __init__(self, sessions: sessionmaker[Session], clock: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: dict[tuple[int, str], StatRow] = {}  # by HAProxy's worker and backend
        self._purge_at: datetime | None = None

    def before_reload(self, rows: tuple[StatRow, ...]) -> None:
        """The counters that a reload is about to end; whoever reloads waits for us."""
        with self._lock:
            self._ended |= {(row.worker, row.proxy): row for row in rows if row.kind == "backend"}

    def sample(self, proxy: Counters) -> None:
        """Add what is new to this minute's rows. Without any traffic nothing is written."""
        with self._lock:
            ended = dict(self._ended)
        try:
            self._keep(proxy.backend_stats(), list(ended.values()))
        except ProxyError as error:
            log.debug("the proxy's counters can't be read: %s", error)
            return
        except SQLAlchemyError as error:
            log.warning("traffic can't be recorded, the next sample makes up: %s", str(error).splitlines()[0])
            return
        with self._lock:
            self._ended = {key: row for key, row in self._ended.items() if ended.get(key) is not row}

    def _keep(self, rows: Sequence[StatRow], ended: Sequence[StatRow]) -> None:
        now = self._clock()
        purging = self._purge_at is None or now >= self._purge_at
        with session_scope(self._sessions) as session:
            before = Traffic(session).readings()
        tallies, after = count(before, rows, ended)
        if not tallies and after.keys() == before.keys() and not purging:
            return
        with session_scope(self._sessions, write=True) as session:
            traffic = Traffic(session)
            tallies, after = count(traffic.readings(), rows, ended)
            traffic.add(now, tallies)
            traffic.keep_readings(after)
            if purging:
                traffic.purge(now - timedelta(days=KEPT_DAYS))
        if purging:
            self._purge_at = now + timedelta(hours=1)
