"""Service ports: given to endpoints for the service's life, never one twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orchestrator.endpoints import Port, recorded_ports
from orchestrator.store.schema import PortRow

PORT_TRIES = 200


class NoPortLeft(Exception):
    """No free service port was found."""


def allocate_ports(session: Session, uuid: str, ports: Iterable[Port], choose_port: Callable[[], int]) -> None:
    """A service port for every endpoint that needs one and has none; given ones stay while the service lives."""
    given = select(PortRow.container_port, PortRow.endpoint_type).where(PortRow.service_uuid == uuid)
    has = {(container_port, kind) for container_port, kind in session.execute(given)}
    for endpoint in recorded_ports(ports):
        if endpoint not in has:
            _take_port(session, uuid, *endpoint, choose_port)
            has.add(endpoint)


def _take_port(session: Session, uuid: str, container_port: int, kind: str, choose_port: Callable[[], int]) -> None:
    for _ in range(PORT_TRIES):
        proposed = choose_port()
        if session.scalar(select(PortRow.service_port).where(PortRow.service_port == proposed)) is not None:
            continue
        row = PortRow(service_port=proposed, service_uuid=uuid, container_port=container_port, endpoint_type=kind)
        try:
            with session.begin_nested():  # another transaction may take it between the look and the insert
                session.add(row)
            return
        except IntegrityError:
            continue
    raise NoPortLeft(f"no free service port found in {PORT_TRIES} tries")
