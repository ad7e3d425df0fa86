"""Ports and sizes of instances that run another revision than the wanted one: they have what their own says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.endpoints import HTTP, TCP, Port
from orchestrator.readiness import Probe, probe_for
from orchestrator.spec_models import PortSpec
from orchestrator.store.schema import InstanceRow, RevisionRow, ServiceRow


@dataclass(frozen=True)
class OtherRevision:
    """A revision that is not the wanted one, and of which something lives."""

    fingerprint: str
    ports: tuple[PortSpec, ...]
    health: Mapping[str, Any]
    size: str = ""


def other_revisions(session: Session, uuids: Collection[str] | None = None) -> dict[str, dict[int, OtherRevision]]:
    """By service and number, of these services (None: all). In the steady state there are hardly any."""
    here = (InstanceRow.service_uuid == RevisionRow.service_uuid) & (InstanceRow.revision == RevisionRow.number)
    query = (
        select(RevisionRow)
        .join(InstanceRow, here)
        .join(ServiceRow, ServiceRow.uuid == RevisionRow.service_uuid)
        .where(InstanceRow.gone_at.is_(None), RevisionRow.number != ServiceRow.revision)
    )
    if uuids is not None:
        query = query.where(RevisionRow.service_uuid.in_(list(uuids)))
    found: dict[str, dict[int, OtherRevision]] = {}
    for row in session.scalars(query).unique():
        try:
            ports = tuple(PortSpec.model_validate(port) for port in row.spec.get("instance_ports", ()))
        except ValidationError:
            continue  # written by another version: its instances are taken to listen as the wanted ones do
        health = row.spec.get("deployment_preference", {}).get("health", {})
        size = str(row.spec.get("instance_size") or "")
        found.setdefault(row.service_uuid, {})[row.number] = OtherRevision(row.fingerprint or "", ports, health, size)
    return found


def with_others(ports: Iterable[Port], others: Iterable[OtherRevision]) -> tuple[Port, ...]:
    """The ports of a service, and behind them what only others have: routed on until the last of those has gone.

    Worked example: tcp 22 becomes tcp 2222, the http-endpoint moves from 80 to 8080 -> 2222, 8080 and the old 22;
    not the old 80, for a service has one http-endpoint, and each instance answers it on its own port.
    """
    found: list[Port] = list(ports)
    for port in (port for other in others for port in other.ports):
        has = {(p.container_port, p.endpoint_type) for p in found}
        http_again = port.endpoint_type == HTTP and any(p.endpoint_type == HTTP for p in found)
        if (
            port.endpoint_type in (HTTP, TCP)
            and (port.container_port, port.endpoint_type) not in has
            and not http_again
        ):
            found.append(port)
    return tuple(found)


def numbered(ports: Iterable[Port]) -> tuple[tuple[int, str], ...]:
    """(container_port, endpoint_type) of those that TCP reaches."""
    return tuple((port.container_port, port.endpoint_type) for port in ports if port.protocol == "tcp")


def own_probes(others: Iterable[OtherRevision], ports: Iterable[tuple[int, str]]) -> dict[str, Probe | None]:
    """How to ask instances of other revisions, by fingerprint; only where their ports differ from the wanted `ports`.

    With other ports goes the `health` of that time: what is asked for now may name a port that they don't have.
    """
    wanted, found = sorted(ports), {}
    for other in others:
        has = [(port.container_port, port.protocol) for port in other.ports]
        if sorted(has) != wanted:
            found[other.fingerprint] = probe_for(has, other.health)
    return found


def own_sizes(others: Iterable[OtherRevision], size: str) -> dict[str, str]:
    """The sizes of other revisions, by fingerprint; only where they differ from the wanted `size`."""
    return {other.fingerprint: other.size for other in others if other.size and other.size != size}
