"""Reads the proxy's counters: what is new goes to the metric store at every look, and by the minute to the database."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.ingress.live import StatRow
from orchestrator.ingress.runtime import ProxyError
from orchestrator.ingress.traffic import Readings, count, proxy_samples, served
from orchestrator.metrics.samples import ProxySample
from orchestrator.store.database import session_scope
from orchestrator.store.traffic import Traffic

log = logging.getLogger("skylark.ingress")

SAMPLE_SECONDS = 10.0  # between two writes of the minute's rows
KEPT_DAYS = 7

Rows = Mapping[tuple[int, str], StatRow]  # by HAProxy's worker and backend


class Counters(Protocol):
    """The part of the proxy that is read."""

    def backend_stats(self) -> tuple[StatRow, ...]:
        """Counters of all backends in all of the proxy's workers."""


@dataclass(frozen=True)
class _Seen:
    """One look at the proxy. `ended`: last words, up to then, of workers that a reload has ended."""

    rows: Sequence[StatRow]
    ended: Rows
    at: datetime
    at_seconds: float  # monotonic


class TrafficSampler:
    """`sample` looks and tells what is new since the last look; `record` keeps the latest look in the database.

    Nothing is remembered here but what a reload would lose, and the last look. For several threads.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        clock: Callable[[], datetime],
        *,
        longest_seconds: float = 20.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._longest_seconds = longest_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._ended: dict[tuple[int, str], StatRow] = {}  # not in the database yet
        self._ended_unsampled: dict[tuple[int, str], StatRow] = {}  # not told by a sample yet
        self._latest: _Seen | None = None
        self._recorded: _Seen | None = None
        self._sampled: tuple[Readings, float, set[str]] | None = None  # at the last sample: counters, when, who had any
        self._purge_at: datetime | None = None

    def before_reload(self, rows: tuple[StatRow, ...]) -> None:
        """The counters that a reload is about to end; whoever reloads waits for us."""
        with self._lock:
            last_words = {(row.worker, row.proxy): row for row in rows if row.kind == "backend"}
            self._ended |= last_words
            self._ended_unsampled |= last_words

    def begin(self) -> None:
        """This worker leads from now on: another one may have counted since our last look, so that is forgotten."""
        self._latest = self._sampled = None

    def sample(self, proxy: Counters) -> list[ProxySample]:
        """What came since the last call, of each service with a backend; none when the proxy can't be read.

        None either at the first call, and when the last was more than `longest_seconds` ago.
        """
        with self._lock:
            ended = dict(self._ended_unsampled)
        seen = self._look(proxy)
        if seen is None:
            return []
        before, sampled_at, had_traffic = self._sampled or ({}, float("-inf"), set())
        tallies, after = count(before, seen.rows, ended.values())
        with self._lock:
            self._ended_unsampled = _without(self._ended_unsampled, ended)
        seconds = seen.at_seconds - sampled_at
        too_long = seconds > self._longest_seconds
        self._sampled = after, seen.at_seconds, set() if too_long else set(tallies)
        if too_long:
            return []
        at_ms = round(seen.at.timestamp() * 1000)
        return proxy_samples(tallies, served(seen.rows) | had_traffic, at_ms, seconds)

    def record(self, proxy: Counters) -> None:
        """Add what is new to this minute's rows. Without any traffic nothing is written."""
        seen = self._latest
        if seen is None or seen is self._recorded or self._monotonic() - seen.at_seconds >= SAMPLE_SECONDS:
            seen = self._look(proxy)
        if seen is None:
            return
        try:
            self._keep(seen)
        except SQLAlchemyError as error:
            log.warning("traffic can't be recorded, the next sample makes up: %s", str(error).splitlines()[0])
            return
        self._recorded = seen
        with self._lock:  # what came meanwhile stays
            self._ended = _without(self._ended, seen.ended)

    def _look(self, proxy: Counters) -> _Seen | None:
        with self._lock:
            ended = dict(self._ended)
        try:
            rows = proxy.backend_stats()
        except ProxyError as error:
            log.debug("the proxy's counters can't be read: %s", error)
            return None
        self._latest = _Seen(rows, ended, self._clock(), self._monotonic())
        return self._latest

    def _keep(self, seen: _Seen) -> None:
        rows, ended = seen.rows, seen.ended.values()
        purging = self._purge_at is None or seen.at >= self._purge_at
        with session_scope(self._sessions) as session:
            before = Traffic(session).readings()
        tallies, after = count(before, rows, ended)
        if not tallies and after.keys() == before.keys() and not purging:
            return
        with session_scope(self._sessions, write=True) as session:
            traffic = Traffic(session)
            tallies, after = count(traffic.readings(), rows, ended)
            traffic.add(seen.at, tallies)
            traffic.keep_readings(after)
            if purging:
                traffic.purge(seen.at - timedelta(days=KEPT_DAYS))
        if purging:
            self._purge_at = seen.at + timedelta(hours=1)


def _without(rows: Rows, used: Rows) -> dict[tuple[int, str], StatRow]:
    return {key: row for key, row in rows.items() if used.get(key) is not row}
