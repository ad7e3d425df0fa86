"""The contract's JSON shapes of services and instances, made from records. Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from api.answers import dump
from orchestrator import endpoints
from orchestrator.settings import Settings
from orchestrator.spec_maps import OWN_VARIABLE
from orchestrator.state import Health, Phase
from orchestrator.store.links import Links
from orchestrator.store.records import InstanceRecord, PortRecord, ServiceRecord, VolumeRecord

Json = dict[str, Any]
SHARED_ADDRESS = "sharedip"  # what the field's clients expect as a text
_NOT_SHOWN = {Phase.EXITED, Phase.VANISHED, Phase.GONE}
_STAGED = {Phase.PENDING, Phase.CREATED}


@dataclass(frozen=True)
class ServiceView:
    """Everything one service answer is made from."""

    record: ServiceRecord
    instances: tuple[InstanceRecord, ...] = ()
    ports: tuple[PortRecord, ...] = ()
    volumes: tuple[VolumeRecord, ...] = ()
    links: Links = field(default_factory=Links)


def timestamp(value: datetime | None) -> str | None:
    """UTC with exactly three decimals: 2015-04-14T09:46:39.457Z."""
    if value is None:
        return None
    value = value.astimezone(UTC)
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"


def service_json(view: ServiceView, settings: Settings) -> Json:
    """A service as list and detail show it; the keys in the document's order, later ones after them."""
    record, spec = view.record, view.record.spec
    domain = default_domain(record, settings)
    shown = [instance for instance in view.instances if instance.phase not in _NOT_SHOWN]
    running = [instance for instance in shown if instance.phase is Phase.RUNNING]
    config = spec.autoscaling_config
    return {
        "unique_name": record.uuid,
        "service_name": record.name,
        "namespace": record.namespace,
        "updated_at": timestamp(record.updated_at),
        "allocation_group": None,
        "target_state": spec.target_state,
        "instance_envvars": dump({**spec.instance_envvars, OWN_VARIABLE: domain}),
        "started_at": timestamp(record.started_at),
        "uuid": record.uuid,
        "linked_to_apps": dump(spec.linked_to_apps),
        "stopped_at": timestamp(record.stopped_at),
        "is_deploying": record.is_deploying,
        "created_by": record.created_by,
        "autoscaling_config": dump(config.model_dump(mode="json")) if config else "{}",
        "instance_ports": service_ports(view, settings) or {},
        "linked_to": dump(spec.linked_to_apps),
        "run_command": spec.run_command,
        "custom_domain_name": spec.custom_domain_name,
        "deployment_preference": dump(spec.deployment_preference),
        "scaling_mode": spec.scaling_mode,
        "image_name": spec.image_name,
        "image_tag": spec.image_tag,
        "instance_size": spec.instance_size,
        "linked_from_apps": dump(view.links.linked_from),
        "target_num_instances": record.count,
        "last_autoscaled_at": timestamp(record.last_autoscaled_at),
        "current_num_instances": len(running),
        "linked_from": dump(view.links.linked_from),
        "staged_num_instances": sum(instance.phase in _STAGED for instance in shown),
        "started_num_instances": sum(_ready(instance) for instance in running),
        "instances": [instance_json(record, instance, settings) for instance in shown],
        "region": region_json(spec.region_name, settings),
        "created_at": timestamp(record.created_at),
        "volumes": _volumes(view),
        "default_domain_name": domain,
        "resource_uri": f"/api/v1/apps/{record.name}",
        "current_status": record.current_status,
        "status_reason": _reason(view),
        "application": spec.application,
        "app_name": record.name,
        "entrypoint": spec.entrypoint,
        "exec_endpoint": settings.base_domain,
        "last_redeployed_at": timestamp(record.last_redeployed_at),
        "linked_services": "{}",
        "linked_to_services": dump(spec.linked_to_apps),
        "generation": record.generation,
        "observed_generation": record.observed_generation,
        "revision": record.revision,
    }


def _reason(view: ServiceView) -> str:
    """Why the status is as it is; of a running service also which of its links lead nowhere now."""
    told = [view.record.status_reason] if view.record.status_reason else []
    if view.record.current_status == "Running":
        told += [f"linked service {name} is not running" for name in view.links.not_running]
    return "; ".join(told)


def _ready(instance: InstanceRecord) -> bool:
    well = instance.health in (Health.NONE, Health.HEALTHY) and not instance.unready
    return instance.phase is Phase.RUNNING and well


def default_domain(record: ServiceRecord, settings: Settings) -> str:
    """The name under which the service is reached from outside."""
    return endpoints.default_domain_name(record.name, record.namespace, settings.base_domain)


def region_json(name: str, settings: Settings) -> Json:
    """A region as services carry it; both values are always texts."""
    region = settings.regions.get(name)
    return {"IaaS": region.iaas if region else "", "name": name}


def service_ports(view: ServiceView, settings: Settings) -> list[Json]:
    """The service's endpoints in the order given; direct ones stand on each instance instead."""
    record = view.record
    given = {(port.container_port, port.endpoint_type): port.service_port for port in view.ports}
    found = endpoints.service_endpoints(
        record.spec.instance_ports, given, record.name, record.namespace, settings.base_domain
    )
    return [_port(e.container_port, e.protocol, e.endpoint_type, e.service_port, e.domain) for e in found]


def _port(container_port: int, protocol: str, endpoint_type: str, service_port: int, domain: str) -> Json:
    return {
        "container_port": container_port,
        "protocol": protocol,
        "endpoint_type": endpoint_type,
        "service_port": service_port,
        "default_domain": domain,
        "ipaddress": SHARED_ADDRESS,
    }


def instance_json(service: ServiceRecord, instance: InstanceRecord, settings: Settings) -> Json:
    """An instance as every answer shows it; until it runs, started_at is when it was made."""
    domain = default_domain(service, settings)
    return {
        "instance_name": f"{service.name}.{instance.slot}",
        "started_at": timestamp(instance.started_at or instance.created_at),
        "uuid": instance.uuid,
        "instance_ports": [
            _port(container_port, protocol, endpoints.DIRECT, host_port, domain)
            for container_port, protocol, host_port in instance.ports
        ],
        "phase": str(instance.phase),
        "health": str(instance.health),
        "ready": _ready(instance),
        "unready_reason": instance.unready,
        "revision": instance.revision,
        "created_at": timestamp(instance.created_at),
        "finished_at": timestamp(instance.finished_at),
        "exit_code": instance.exit_code,
        "reason": instance.reason,
    }


def shown_instances(service: ServiceRecord, instances: Sequence[InstanceRecord], settings: Settings) -> list[Json]:
    """The instances of a service that are there now."""
    return [instance_json(service, i, settings) for i in instances if i.phase not in _NOT_SHOWN]


def _volumes(view: ServiceView) -> list[Json]:
    """One entry a declared path: its size, what all slots together use, and whether every slot's size is enforced."""
    rows: Mapping[str, list[VolumeRecord]] = {v.app_volume_dir: [] for v in view.record.spec.volumes}
    for row in view.volumes:
        if row.path in rows:
            rows[row.path].append(row)
    return [
        {
            "app_volume_dir": volume.app_volume_dir,
            "size_gb": volume.size_gb,
            "enforced": bool(found := rows[volume.app_volume_dir]) and all(row.enforced for row in found),
            "used_bytes": sum(known) if (known := [r.used_bytes for r in found if r.used_bytes is not None]) else None,
        }
        for volume in view.record.spec.volumes
    ]
