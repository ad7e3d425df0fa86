"""What the proxy must know of all services: their endpoints, and the instances that are ready."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.endpoints import service_endpoints
from orchestrator.ingress.routes import ReadyInstance, RoutedService
from orchestrator.spec import ServiceSpec
from orchestrator.state import Health, Phase
from orchestrator.store.schema import InstanceRow, PortRow, RevisionRow, ServiceRow


def routed_services(session: Session, base_domain: str) -> tuple[RoutedService, ...]:
    """Every service that is declared, also a stopped one: its address answers that nothing is ready."""
    given: dict[str, dict[tuple[int, str], int]] = defaultdict(dict)
    for port in session.scalars(select(PortRow)):
        given[port.service_uuid][port.container_port, port.endpoint_type] = port.service_port
    ready: dict[str, list[ReadyInstance]] = defaultdict(list)
    query = select(InstanceRow).where(InstanceRow.gone_at.is_(None), InstanceRow.phase == Phase.RUNNING.value)
    well = query.where(InstanceRow.unready == "", InstanceRow.address != "")
    for row in session.scalars(well.where(InstanceRow.health.in_([Health.NONE.value, Health.HEALTHY.value]))):
        ready[row.service_uuid].append(ReadyInstance(row.uuid, row.slot, row.address))
    found = []
    for service in session.scalars(select(ServiceRow).where(ServiceRow.deleted_at.is_(None))):
        spec = ServiceSpec.model_validate(service.spec)
        if service.rollout_failure:  # what runs is made from the revision, not from what the user wished for
            revision = session.get(RevisionRow, (service.uuid, service.revision))
            ports = ServiceSpec.model_validate(revision.spec).instance_ports if revision else spec.instance_ports
        else:
            ports = spec.instance_ports
        found.append(
            RoutedService(
                uuid=service.uuid,
                name=service.name,
                namespace=service.namespace,
                created_at=service.created_at,
                endpoints=service_endpoints(ports, given[service.uuid], service.name, service.namespace, base_domain),
                custom_domain=spec.custom_domain_name,
                ready=tuple(sorted(ready[service.uuid], key=lambda i: (i.slot, i.uuid))),
                proxy_protocol=bool(spec.deployment_preference.get("proxy_protocol")),
            )
        )
    return tuple(found)
