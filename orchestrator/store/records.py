"""What the store answers: frozen values, cut loose from the session that read them.

`to_...` take a mapped row or a result row of the table's columns alike: both have the columns as attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from orchestrator.spec import ServiceSpec
from orchestrator.state import Health, Phase


@dataclass(frozen=True)
class ServiceRecord:
    """A declared service; the fields are those of `ServiceRow`. `revision` is the wanted revision's number."""

    uuid: str
    namespace: str
    name: str
    name_key: str | None
    created_by: str
    application: str | None
    spec: ServiceSpec
    generation: int
    observed_generation: int
    revision: int
    scale_target: int | None
    good_revision: int | None
    rollout_failure: str
    recheck_image: bool
    image_missing: bool
    pull_failures: int
    pull_retry_at: datetime | None
    pull_reason: str
    current_status: str
    status_reason: str
    is_deploying: bool
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    last_redeployed_at: datetime | None
    last_autoscaled_at: datetime | None
    deleted_at: datetime | None
    delete_volumes: bool
    scaled_at: datetime | None = None
    scaling_by: str = ""

    @property
    def full_name(self) -> str:
        """namespace/name, as events, volumes and labels show it."""
        return f"{self.namespace}/{self.name}"

    @property
    def count(self) -> int:
        """How many instances are wanted now: the autoscaler's number while it rules, else the user's own."""
        if self.spec.scaling_mode == "AUTO" and self.scale_target is not None:
            return self.scale_target
        return self.spec.target_num_instances


@dataclass(frozen=True)
class RevisionRecord:
    """One version of what instances are made from; `image_id` is None until a pull resolved the tag."""

    service_uuid: str
    number: int
    generation: int
    spec: ServiceSpec
    template_hash: str
    image_ref: str
    image_id: str | None
    image_digest: str | None
    fingerprint: str | None
    resolved_at: datetime | None
    restart: int
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class InstanceRecord:
    """An instance, living (`gone_at` is None) or past. `ports`: (container_port, protocol, host_port)."""

    uuid: str
    service_uuid: str
    slot: int
    revision: int
    fingerprint: str
    phase: Phase
    health: Health
    container_id: str | None
    address: str
    ports: tuple[tuple[int, str, int], ...]
    ready_at: datetime | None
    unready: str
    exit_code: int | None
    oom_killed: bool
    reason: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    gone_at: datetime | None


@dataclass(frozen=True)
class PortRecord:
    """A service port given to one endpoint of a service."""

    service_port: int
    service_uuid: str
    container_port: int
    endpoint_type: str


@dataclass(frozen=True)
class VolumeRecord:
    """A Docker volume of ours. `used_bytes` as measured at `used_at`; `orphaned_at`: since when nobody owns it."""

    name: str
    service_uuid: str
    service_name: str
    region: str
    slot: int
    path: str
    size_gb: int
    enforced: bool
    used_bytes: int | None
    used_at: datetime | None
    created_at: datetime
    orphaned_at: datetime | None
    remove_requested_at: datetime | None


@dataclass(frozen=True)
class EventRecord:
    """Something that happened or was decided, with its reason. Ids grow and are never given again."""

    id: int
    at: datetime
    service_uuid: str | None
    service_name: str
    instance_uuid: str | None
    kind: str
    reason: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class HeartbeatRecord:
    """The last sign of life of `name` ("worker" or "engine:<url>"), its trouble in words or ""."""

    name: str
    at: datetime
    trouble: str
    lag_seconds: float


def to_service(row: Any) -> ServiceRecord:
    """The row as a value."""
    return _copy(ServiceRecord, row, spec=ServiceSpec.model_validate(row.spec))


def to_revision(row: Any) -> RevisionRecord:
    """The row as a value."""
    return _copy(RevisionRecord, row, spec=ServiceSpec.model_validate(row.spec))


def to_instance(row: Any) -> InstanceRecord:
    """The row as a value."""
    return _copy(
        InstanceRecord,
        row,
        phase=Phase(row.phase),
        health=Health(row.health),
        ports=tuple((int(port), str(protocol), int(host_port)) for port, protocol, host_port in row.ports),
    )


def to_port(row: Any) -> PortRecord:
    """The row as a value."""
    return _copy(PortRecord, row)


def to_volume(row: Any) -> VolumeRecord:
    """The row as a value."""
    return _copy(VolumeRecord, row)


def to_event(row: Any) -> EventRecord:
    """The row as a value."""
    return _copy(EventRecord, row)


def to_heartbeat(row: Any) -> HeartbeatRecord:
    """The row as a value."""
    return _copy(HeartbeatRecord, row)


R = TypeVar("R")


def _copy(record: type[R], row: Any, **converted: Any) -> R:
    """A record with the row's columns of the same names, `converted` ones taken as given."""
    values = {f.name: getattr(row, f.name) for f in fields(record) if f.name not in converted}  # type: ignore[arg-type]
    return record(**values, **converted)
