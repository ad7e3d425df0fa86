"""What the proxy must know of all services: their endpoints, and the instances that are ready."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.endpoints import service_endpoints
from orchestrator.ingress.holding import may_sleep
from orchestrator.ingress.routes import ReadyInstance, RoutedService
from orchestrator.links import link_ports
from orchestrator.spec import ServiceSpec
from orchestrator.state import Health, Phase
from orchestrator.store.addresses import link_addresses
from orchestrator.store.revision_ports import numbered, other_revisions, with_others
from orchestrator.store.schema import InstanceRow, PortRow, RevisionRow, ServiceRow


def routed_services(session: Session, base_domain: str) -> tuple[RoutedService, ...]:
    """Every service that is declared, also a stopped one: its address answers that nothing is ready."""
    given: dict[str, dict[tuple[int, str], int]] = defaultdict(dict)
    for port in session.scalars(select(PortRow)):
        given[port.service_uuid][port.container_port, port.endpoint_type] = port.service_port
    others = other_revisions(session)
    ready: dict[str, list[InstanceRow]] = defaultdict(list)
    query = select(InstanceRow).where(InstanceRow.gone_at.is_(None), InstanceRow.phase == Phase.RUNNING.value)
    well = query.where(InstanceRow.unready == "", InstanceRow.address != "")
    well = well.where(InstanceRow.health.in_([Health.NONE.value, Health.HEALTHY.value]))
    for row in session.scalars(well.order_by(InstanceRow.slot, InstanceRow.uuid)):
        ready[row.service_uuid].append(row)
    virtual, sources = link_addresses(session), _link_sources(session)
    found = []
    for service in session.scalars(select(ServiceRow).where(ServiceRow.deleted_at.is_(None))):
        spec = ServiceSpec.model_validate(service.spec)
        if service.rollout_failure:  # what runs is made from the revision, not from what the user wished for
            revision = session.get(RevisionRow, (service.uuid, service.revision))
            ports = ServiceSpec.model_validate(revision.spec).instance_ports if revision else spec.instance_ports
        else:
            ports = spec.instance_ports
        older = others.get(service.uuid, {})
        serving = {row.revision: older[row.revision] for row in ready[service.uuid] if row.revision in older}
        listening = {number: numbered(other.ports) for number, other in serving.items()}
        instances = (
            ReadyInstance(row.uuid, row.slot, row.address, listening.get(row.revision, numbered(ports)))
            for row in ready[service.uuid]
        )
        reached = service_endpoints(
            with_others(ports, serving.values()), given[service.uuid], service.name, service.namespace, base_domain
        )
        key = f"{service.namespace}/{service.name}"
        found.append(
            RoutedService(
                uuid=service.uuid,
                name=service.name,
                namespace=service.namespace,
                created_at=service.created_at,
                endpoints=reached,
                custom_domain=spec.custom_domain_name,
                ready=tuple(instances),
                proxy_protocol=bool(spec.deployment_preference.get("proxy_protocol")),
                link_address=virtual.get(key, ""),
                link_ports=link_ports(ports, reached),
                link_sources=tuple(sorted(sources.get(key, ()))),
                may_sleep=may_sleep(service.spec),
            )
        )
    return tuple(found)


def _link_sources(session: Session) -> dict[str, set[str]]:
    """namespace/name -> addresses of the instances that link to it, as the revision says that each is made from.

    Those about to start are among them: they may connect with their first breath.
    """
    found: dict[str, set[str]] = defaultdict(set)
    query = (
        select(ServiceRow.namespace, InstanceRow.address, RevisionRow.spec["linked_to_apps"])
        .join(ServiceRow, ServiceRow.uuid == InstanceRow.service_uuid)
        .join(
            RevisionRow,
            (RevisionRow.service_uuid == InstanceRow.service_uuid) & (RevisionRow.number == InstanceRow.revision),
        )
        .where(InstanceRow.gone_at.is_(None), InstanceRow.address != "")
    )
    for namespace, address, links in session.execute(query):
        for name in links or ():
            found[f"{namespace}/{name}"].add(address)
    return found
