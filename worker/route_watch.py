"""Tells services what became of their routes: who is reached, what could not be made; moves a port that is taken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.ingress.haproxy import Applied
from orchestrator.ingress.routes import RoutedService, RouteTable
from orchestrator.ingress.shortfall import open_ports, shortfalls
from orchestrator.store.database import session_scope
from orchestrator.store.route_writes import RouteWrites

log = logging.getLogger("skylark.ingress")


class RouteWatch:
    """`look` after each application of a table; `faults` is what the status of a service adds.

    `notify(service_uuid)` asks for a pass when that changed; `choose_port()` proposes a port that is free on the host.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        clock: Callable[[], datetime],
        notify: Callable[[str], None],
        choose_port: Callable[[], int],
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._notify = notify
        self._choose_port = choose_port
        self._lock = threading.Lock()
        self._faults: dict[str, str] = {}
        self._reached: frozenset[str] | None = None
        self._told: dict[str, str] | None = None  # None: a worker before this one may have told something
        self._open: set[tuple[str, int]] = set()

    def faults(self) -> Mapping[str, str]:
        """Service uuid -> why some of its routes are not made."""
        with self._lock:
            return dict(self._faults)

    def reached(self) -> Collection[str] | None:
        """Instances (uuids) that the proxy was told of, as far as it takes anything; None: nothing was tried yet."""
        with self._lock:
            return self._reached

    def tried(self, services: Iterable[RoutedService]) -> None:
        """The proxy was told of these. That it could not be, is a fault of its own, and no reason to wait for it."""
        now = {instance.uuid: service.uuid for service in services for instance in service.ready}
        with self._lock:
            before, self._reached = self._reached, frozenset(now)
        if before is not None:
            for service_uuid in {now[uuid] for uuid in now.keys() - before}:
                self._notify(service_uuid)

    def look(self, table: RouteTable, applied: Applied) -> bool:
        """Note what could not be had. Whether a port was moved, so that the table is another one now."""
        try:
            return self._look(table, applied)
        except SQLAlchemyError as error:
            log.warning("what became of routes can't be noted now: %s", str(error).splitlines()[0])
            return False

    def _look(self, table: RouteTable, applied: Applied) -> bool:
        refused, in_use = dict(applied.refused), applied.port_conflicts
        opened = open_ports(table, refused, in_use) - self._open
        faulty = bool(refused or in_use or table.clashes)
        if not (opened or faulty or self._told or self._told is None):
            return False
        moved = []
        with session_scope(self._sessions, write=True) as session:
            writes = RouteWrites(session, self._clock())
            names = writes.names()
            for uuid, port in sorted(opened):
                writes.opened(uuid, port)
            moved = [port for port in in_use if writes.move(port, self._choose_port) is not None]
            faults = shortfalls(table, refused, [port for port in in_use if port not in moved], names)
            before = dict.fromkeys(names, "") if self._told is None else self._told
            changed = {uuid for uuid in {*before, *faults} if before.get(uuid, "") != faults.get(uuid, "")}
            for uuid in sorted(names) if self._told is None else sorted(changed):
                writes.tell(uuid, faults.get(uuid, ""))
        self._open |= opened
        self._told = faults
        with self._lock:
            self._faults = faults
        for uuid in changed:
            self._notify(uuid)
        return bool(moved)
