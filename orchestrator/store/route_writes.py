"""What became of a service's routes: told as events, and a service port that something else has is given up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orchestrator.store.events import Events
from orchestrator.store.schema import EventRow, PortRow, ServiceRow

OPENED, REFUSED, MADE = "port_opened", "route_refused", "route_made"
_TRIES = 200


class RouteWrites:
    """Events and ports, inside the caller's transaction."""

    def __init__(self, session: Session, now: datetime) -> None:
        self._session = session
        self._now = now

    def names(self) -> dict[str, str]:
        """uuid -> namespace/name of every living service."""
        query = select(ServiceRow.uuid, ServiceRow.namespace, ServiceRow.name).where(ServiceRow.deleted_at.is_(None))
        return {uuid: f"{namespace}/{name}" for uuid, namespace, name in self._session.execute(query)}

    def tell(self, service_uuid: str, fault: str) -> None:
        """That routes of it could not be made, or ("") that all are; nothing when that was the last thing told."""
        query = select(EventRow.kind, EventRow.reason).where(EventRow.service_uuid == service_uuid)
        routes = query.where(EventRow.kind.in_([REFUSED, MADE])).order_by(EventRow.id.desc())
        last = self._session.execute(routes.limit(1)).first()
        if fault and (last is None or tuple(last) != (REFUSED, fault)):
            self._event(service_uuid, REFUSED, fault)
        elif not fault and last is not None and last[0] == REFUSED:
            self._event(service_uuid, MADE, "all its routes are in effect")

    def opened(self, service_uuid: str, port: int) -> None:
        """A service port is in effect: from now on it is the service's for life. Told once."""
        if not self._was_open(service_uuid, port):
            self._event(service_uuid, OPENED, f"port {port} of the host leads to it", port=port)

    def move(self, port: int, choose_port: Callable[[], int]) -> int | None:
        """Another service port for the endpoint of this one, if nobody can have learnt it: it was never in effect.

        None when it stays. That it never was is sure only while the service's first event is kept too.
        """
        row = self._session.get(PortRow, port, with_for_update=True)
        if row is None or self._was_open(row.service_uuid, port) or not self._told(row.service_uuid, "created"):
            return None
        proposed = (choose_port() for _ in range(_TRIES))
        free = next((p for p in proposed if self._session.get(PortRow, p) is None), None)
        if free is None:
            return None
        uuid, endpoint = row.service_uuid, f"{row.endpoint_type} {row.container_port}"
        self._session.execute(update(PortRow).where(PortRow.service_port == port).values(service_port=free))
        words = f"service port {port} is in use on the host by something else: {endpoint} has {free} now"
        self._event(uuid, "port_moved", words, before=port, now=free)
        return free

    def _was_open(self, service_uuid: str, port: int) -> bool:
        query = select(EventRow.data).where(EventRow.service_uuid == service_uuid, EventRow.kind == OPENED)
        return any(data.get("port") == port for data in self._session.scalars(query))

    def _told(self, service_uuid: str, kind: str) -> bool:
        query = select(EventRow.id).where(EventRow.service_uuid == service_uuid, EventRow.kind == kind)
        return self._session.scalar(query.limit(1)) is not None

    def _event(self, service_uuid: str, kind: str, reason: str, **data: int) -> None:
        row = self._session.get(ServiceRow, service_uuid)
        if row is not None:
            name = f"{row.namespace}/{row.name}"
            events = Events(self._session)
            events.add(at=self._now, kind=kind, reason=reason, service_uuid=row.uuid, service_name=name, data=data)
