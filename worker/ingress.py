"""Keeps the proxy at what the database says: ready instances get traffic, leaving ones are drained first."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.ingress.haproxy import Applied, HaProxy
from orchestrator.ingress.routes import RouteTable, route_table, without_links
from orchestrator.ingress.runtime import ProxyError
from orchestrator.jobs import Job
from orchestrator.store.database import session_scope
from orchestrator.store.route_reads import routed_services
from worker.route_watch import RouteWatch

log = logging.getLogger("skylark.ingress")

_DRAIN_POLL_SECONDS = 0.05
_REPEAT_SECONDS = 60.0  # a fault that stays is told this often
_AGAIN_SECONDS = 1.0  # after a fault, and while old connections are still leaving


class Ingress:
    """One thread that applies the table of routes whenever something may have changed.

    `request` is cheap; `unroute` waits. What the proxy could not take is said once, when it changes.
    """

    def __init__(
        self,
        proxy: HaProxy,
        sessions: sessionmaker[Session],
        base_domain: str,
        *,
        tick_seconds: float,
        drain_seconds: float,
        may_act: Callable[[], bool],
        claim_addresses: Callable[[], str] = lambda: "",
        watch: RouteWatch | None = None,
    ) -> None:
        self._proxy = proxy
        self._sessions = sessions
        self._base_domain = base_domain
        self._tick_seconds = tick_seconds
        self._drain_seconds = drain_seconds
        self._may_act = may_act
        self._claim_addresses = claim_addresses
        self._no_links = ""  # why links carry no traffic
        self._watch = watch
        self._changed = threading.Condition()
        self._asked = 0  # every request is a ticket; an application serves all tickets drawn before it began
        self._served = 0
        self._leaving: frozenset[str] = frozenset()  # instances with connections that are still under way
        self._told: tuple[object, ...] = ()
        self._fault, self._fault_told_at = "", 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="ingress", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Touch the proxy no more; it goes on with the routes it has."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def request(self) -> int:
        """Something may have changed: apply soon. Answers a ticket to wait for."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
            return self._asked

    def unroute(self, job: Job) -> None:
        """Wait until the proxy has let go of a stopping instance: no new requests, the old ones done or out of time."""
        deadline = time.monotonic() + self._drain_seconds
        ticket = self.request()
        with self._changed:
            self._changed.wait_for(lambda: self._served >= ticket or self._stopping, self._drain_seconds)
            while job.instance_uuid in self._leaving and not self._stopping:
                rest = deadline - time.monotonic()
                if rest <= 0:
                    log.info(
                        "drain ends", extra={"fields": {"instance_uuid": job.instance_uuid, "reason": "time is up"}}
                    )
                    return
                self._asked += 1
                self._changed.notify_all()
                self._changed.wait(min(rest, _DRAIN_POLL_SECONDS))

    def _loop(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._asked > self._served, pause)
                if self._stopping:
                    return
                ticket = self._asked
            pause = self._apply() if self._may_act() else self._tick_seconds
            with self._changed:
                self._served = max(self._served, ticket)
                self._changed.notify_all()

    def _apply(self) -> float:
        """Apply what the database says now; how long to rest when nobody asks."""
        try:
            with session_scope(self._sessions) as session:
                services = routed_services(session, self._base_domain)
            table = route_table(services)
            try:
                applied = self._proxy.apply(self._possible(table))
            finally:
                if self._watch is not None:
                    self._watch.tried(services)
        except (ProxyError, OSError) as error:
            self._tell_fault(str(error))
            return _AGAIN_SECONDS
        except SQLAlchemyError as error:
            log.warning("routes can't be read, the proxy keeps those it has: %s", str(error).splitlines()[0])
            return _AGAIN_SECONDS
        except Exception:
            log.exception("routes can't be made, the proxy keeps those it has")
            return _AGAIN_SECONDS
        self._fault = ""
        with self._changed:
            self._leaving = frozenset(ref[1] for ref in applied.leaving)
        self._tell(table, applied)
        if self._watch is not None and self._watch.look(table, applied):
            self.request()
        return _AGAIN_SECONDS if applied.leaving else self._tick_seconds

    def _possible(self, table: RouteTable) -> RouteTable:
        """The table, without the virtual addresses where the host can't have them."""
        if not any(route.address for route in table.tcp):
            return table
        fault = self._claim_addresses()
        if fault != self._no_links:
            if fault:
                log.error("links carry no traffic, all else works: %s", fault)
            else:
                log.info("links carry traffic again")
            self._no_links = fault
        return without_links(table) if fault else table

    def _tell_fault(self, fault: str) -> None:
        now = time.monotonic()
        if fault != self._fault or now - self._fault_told_at >= _REPEAT_SECONDS:
            log.error("the proxy can't be brought to its routes, trying again every second: %s", fault)
            self._fault, self._fault_told_at = fault, now

    def _tell(self, table: RouteTable, applied: Applied) -> None:
        """A log line for what changed, and one for what could not be had, when that changed."""
        if applied.how != "nothing":
            servers = sum(len(backend.servers) for backend in table.backends)
            fields = {
                "how": applied.how,
                "backends": len(table.backends),
                "servers": servers,
                "commands": applied.commands,
                "seconds": round(applied.seconds, 4),
            }
            log.info("routes applied", extra={"fields": fields})
        in_use = [*applied.port_conflicts, *applied.link_conflicts]
        told = (dict(applied.refused), in_use, table.clashes)
        if told != self._told and any(told):
            clashes = [f"{c.claim} of {c.service_uuid}" for c in table.clashes]
            missing = {"refused": told[0], "ports_in_use": in_use, "clashes": clashes}
            log.warning("some routes could not be made", extra={"fields": missing})
        self._told = told
