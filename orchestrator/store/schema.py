"""The tables. One schema for both processes: the API binds it with Flask-SQLAlchemy, the worker with a sessionmaker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Float,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

KEPT_REVISIONS = 20  # of a service; older ones go when a new one is made


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python, naive UTC in the database: SQLite keeps no zone, so none is kept anywhere."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Metadata of all Skylark tables."""


class ServiceRow(Base):
    """A declared service. Deleting sets `deleted_at` and frees `name_key`; the row goes when nothing is left of it."""

    __tablename__ = "services"
    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    namespace: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str | None] = mapped_column(String(130), unique=True)  # "namespace/name" while alive
    created_by: Mapped[str] = mapped_column(String(64))
    application: Mapped[str | None] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)  # ServiceSpec as JSON; written by users only
    generation: Mapped[int] = mapped_column(Integer, default=1)
    observed_generation: Mapped[int] = mapped_column(Integer, default=0)
    revision: Mapped[int] = mapped_column(Integer, default=1)  # number of the wanted revision
    scale_target: Mapped[int | None] = mapped_column(Integer)  # the autoscaler's, beside the spec; set while AUTO
    scaled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the wait period runs from here
    scaling_by: Mapped[str] = mapped_column(String(16), default="", server_default="")  # whose change is under way
    good_revision: Mapped[int | None] = mapped_column(Integer)  # the last one that ran as a whole
    rollout_failure: Mapped[str] = mapped_column(Text, default="", server_default="")  # why the last deploy went back
    recheck_image: Mapped[bool] = mapped_column(Boolean, default=False)
    image_missing: Mapped[bool] = mapped_column(Boolean, default=False)
    pull_failures: Mapped[int] = mapped_column(Integer, default=0)
    pull_retry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pull_reason: Mapped[str] = mapped_column(Text, default="")
    current_status: Mapped[str] = mapped_column(String(32), default="Deploying")
    status_reason: Mapped[str] = mapped_column(Text, default="")
    is_deploying: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_redeployed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_autoscaled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    delete_volumes: Mapped[bool] = mapped_column(Boolean, default=False)
    __table_args__ = (
        Index("ix_services_list", "namespace", "created_at"),
        Index("ix_services_scale_target", "scale_target"),
    )


class RevisionRow(Base):
    """One version of what instances are made from; the last 20 of a service are kept."""

    __tablename__ = "revisions"
    service_uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    generation: Mapped[int] = mapped_column(Integer)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)  # the whole spec as of this revision
    template_hash: Mapped[str] = mapped_column(String(64))
    image_ref: Mapped[str] = mapped_column(Text)
    image_id: Mapped[str | None] = mapped_column(String(80))
    image_digest: Mapped[str | None] = mapped_column(Text)
    fingerprint: Mapped[str | None] = mapped_column(String(12))
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when its image was known: the rollout's start
    restart: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # tells equal templates apart
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class InstanceRow(Base):
    """An instance, living or past, as last observed."""

    __tablename__ = "instances"
    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    service_uuid: Mapped[str] = mapped_column(String(36))
    slot: Mapped[int] = mapped_column(Integer)
    revision: Mapped[int] = mapped_column(Integer)
    fingerprint: Mapped[str] = mapped_column(String(12))
    phase: Mapped[str] = mapped_column(String(16))
    health: Mapped[str] = mapped_column(String(16), default="none")
    container_id: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64), default="")
    ports: Mapped[list[list[Any]]] = mapped_column(JSON, default=list)  # [container_port, protocol, host_port]
    ready_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # since when it may get traffic
    unready: Mapped[str] = mapped_column(Text, default="", server_default="")  # why it may not, as its probe says
    exit_code: Mapped[int | None] = mapped_column(Integer)
    oom_killed: Mapped[bool] = mapped_column(Boolean, default=False)
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    gone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    __table_args__ = (
        Index("ix_instances_service", "service_uuid", "gone_at"),
        Index("ix_instances_gone", "gone_at"),
    )


class SlotRow(Base):
    """How a slot's instances fared: failures in a row and when the next try is due."""

    __tablename__ = "slots"
    service_uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    slot: Mapped[int] = mapped_column(Integer, primary_key=True)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    retry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(Text, default="")


class VolumeRow(Base):
    """A Docker volume of ours: one per service, slot and path. Outlives its service as an orphan."""

    __tablename__ = "volumes"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    service_uuid: Mapped[str] = mapped_column(String(36), index=True)
    service_name: Mapped[str] = mapped_column(String(130))  # namespace/name, for when the service is gone
    region: Mapped[str] = mapped_column(String(64))
    slot: Mapped[int] = mapped_column(Integer)
    path: Mapped[str] = mapped_column(Text)
    size_gb: Mapped[int] = mapped_column(Integer)
    enforced: Mapped[bool] = mapped_column(Boolean, default=False)
    used_bytes: Mapped[int | None] = mapped_column(BigInteger)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    orphaned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    remove_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # an operator wants this orphan gone


class PortRow(Base):
    """A service port given to an endpoint, kept for the service's life and never given twice."""

    __tablename__ = "ports"
    service_port: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    service_uuid: Mapped[str] = mapped_column(String(36))
    container_port: Mapped[int] = mapped_column(Integer)
    endpoint_type: Mapped[str] = mapped_column(String(32))
    __table_args__ = (UniqueConstraint("service_uuid", "container_port", "endpoint_type"),)


class NetworkRow(Base):
    """The subnet of a namespace's network. Without a namespace: somebody else has it on the engine, never ask again."""

    __tablename__ = "networks"
    subnet: Mapped[str] = mapped_column(String(18), primary_key=True)
    namespace: Mapped[str | None] = mapped_column(String(64), unique=True)


class LinkAddressRow(Base):
    """The virtual address under which a service is reached by those that link to it; by name, as links are."""

    __tablename__ = "link_addresses"
    address: Mapped[str] = mapped_column(String(15), primary_key=True)
    service_key: Mapped[str] = mapped_column(String(130), unique=True)  # "namespace/name"


class EventRow(Base):
    """Something that happened or was decided, with its reason, for users and operators."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    service_uuid: Mapped[str | None] = mapped_column(String(36))
    service_name: Mapped[str] = mapped_column(String(130), default="")  # namespace/name
    instance_uuid: Mapped[str | None] = mapped_column(String(36))
    kind: Mapped[str] = mapped_column(String(48))  # created updated pull_failed instance_died ...
    reason: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    __table_args__ = (
        Index("ix_events_service", "service_uuid", "id"),
        {"sqlite_autoincrement": True},  # an id is never given again, so that "after this one" stays true
    )


class ProxyCounterRow(Base):
    """What went through the proxy to a service in one minute; minutes without traffic have no row."""

    __tablename__ = "proxy_counters"
    service_uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    minute: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True, index=True)
    requests: Mapped[int] = mapped_column(BigInteger)  # connections, of endpoints that are not http
    errors_5xx: Mapped[int] = mapped_column(BigInteger)
    bytes_in: Mapped[int] = mapped_column(BigInteger)
    bytes_out: Mapped[int] = mapped_column(BigInteger)
    sessions_max: Mapped[int] = mapped_column(Integer)  # open at once, as sampled
    response_ms_sum: Mapped[float] = mapped_column(Float)  # of all requests; the average is this by `requests`


class ProxyReadingRow(Base):
    """HAProxy's counters as last read, to tell what is new. One row, "haproxy"."""

    __tablename__ = "proxy_readings"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    readings: Mapped[dict[str, Any]] = mapped_column(JSON)  # "pid backend" -> requests, 5xx, bytes in, bytes out


class AutoscalerRoundRow(Base):
    """What the autoscaler found last, of all services together: one small write a round. One row, "last"."""

    __tablename__ = "autoscaler_rounds"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    evaluations: Mapped[dict[str, Any]] = mapped_column(JSON)  # by service uuid


class LeaseRow(Base):
    """Who may act. `name` is "worker"; a holder that does not renew before `expires_at` loses it."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(128))
    acquired_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class HeartbeatRow(Base):
    """When the worker last renewed, and when it last saw each engine: the age of every observation."""

    __tablename__ = "heartbeats"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)  # "worker" or "engine:<url>"
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    trouble: Mapped[str] = mapped_column(Text, default="")  # why the engine does not answer, or ""
    lag_seconds: Mapped[float] = mapped_column(Float, default=0.0)  # duration of the last pass
