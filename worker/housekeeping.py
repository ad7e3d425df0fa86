"""What is done now and then beside the passes: volume usage, retention of logs and events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.engine.base import Engine
from orchestrator.engine.container_config import network_name
from orchestrator.engine.errors import EngineError
from orchestrator.logs.archive import LogArchive
from orchestrator.logs.errors import LogStoreError
from orchestrator.logs.lines import SKYLARK
from orchestrator.metrics.store import MetricStore, MetricStoreError
from orchestrator.settings import Settings
from orchestrator.store.addresses import empty_namespaces, forget_networks, forget_unused_links
from orchestrator.store.database import session_scope
from orchestrator.store.events import Events
from orchestrator.store.pass_writes import PassWrites
from orchestrator.store.schema import InstanceRow, ServiceRow, VolumeRow

log = logging.getLogger("skylark.worker")

_UPKEEP_SECONDS = 0.5


class Housekeeping:
    """Each method is one scheduled job; a failing one is told and tried again at its next time."""

    def __init__(
        self,
        settings: Settings,
        sessions: sessionmaker[Session],
        engines: Mapping[str, Engine],
        archive: LogArchive,
        metrics: MetricStore,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._engines = engines
        self._archive = archive
        self._metrics = metrics
        self._logs_told = ""
        self._clock = clock

    def measure_volumes(self) -> None:
        """Bytes really used by every volume; without volumes no engine is asked."""
        with session_scope(self._sessions) as session:
            if session.scalars(select(VolumeRow.name).limit(1)).first() is None:
                return
        used: dict[str, int] = {}
        for url, engine in self._engines.items():
            try:
                used |= engine.volume_usage()
            except EngineError as error:
                log.warning("volumes of %s can't be measured: %s", url, error.message)
        with session_scope(self._sessions, write=True) as session:
            PassWrites(session, self._clock()).volumes_used(used)

    def remove_empty_networks(self) -> None:
        """Networks of namespaces without any service, and virtual addresses nobody needs; else no engine is asked."""
        with session_scope(self._sessions) as session:
            empty = empty_namespaces(session)
        if not empty:
            return
        for engine in self._engines.values():
            for namespace in empty:
                try:
                    engine.remove_network(network_name(self._settings.installation, namespace))
                except EngineError as error:
                    log.warning("the network of %s can't be removed, trying again: %s", namespace, error.message)
                    empty = tuple(name for name in empty if name != namespace)
        with session_scope(self._sessions, write=True) as session:
            forget_networks(session, empty)
            forget_unused_links(session)

    def keep_logs(self) -> None:
        """Merge what came in small pieces, index it, keep the limits: bite by bite. A fault is told once."""
        try:
            self._archive.maintain(_UPKEEP_SECONDS)
        except LogStoreError as error:
            if str(error) != self._logs_told:
                log.warning("the log store can't be tidied, trying again: %s", error)
            self._logs_told = str(error)
            return
        self._logs_told = ""

    def apply_retention(self) -> None:
        """Drop log lines, events and past instances older than their days, and what belonged to services long gone."""
        now, settings = self._clock(), self._settings
        try:
            self._archive.purge(time.time_ns() - settings.log_retention_days * 86_400 * 1_000_000_000)
        except LogStoreError as error:
            log.warning("old log lines can't be dropped: %s", error)
        try:
            self._forget_purged_services()
            with session_scope(self._sessions, write=True) as session:
                forget_unused_links(session)
                Events(session).purge(now - timedelta(days=settings.event_retention_days))
                gone = delete(InstanceRow).where(
                    InstanceRow.gone_at < now - timedelta(days=settings.log_retention_days)
                )
                session.execute(gone)
        except SQLAlchemyError as error:
            log.warning("old events can't be dropped: %s", error)

    def forget_service(self, service_uuid: str) -> None:
        """All that outlives containers of a service that is gone for good: its log lines, its metrics."""
        try:
            self._archive.forget_service(service_uuid)
            self._metrics.forget_service(service_uuid)
        except (LogStoreError, MetricStoreError) as error:
            log.warning("what is left of a purged service can't be dropped, retention tries again: %s", error)

    def _forget_purged_services(self) -> None:
        """Those which a worker killed at the wrong moment left behind."""
        try:
            kept = {*self._archive.services(), *self._metrics.services()} - {SKYLARK}
        except (LogStoreError, MetricStoreError) as error:
            log.warning("services with lines or metrics can't be listed: %s", error)
            return
        with session_scope(self._sessions) as session:
            known = set(session.scalars(select(ServiceRow.uuid)))
        for uuid in kept - known:
            self.forget_service(uuid)
