"""What answers are made from: reads that return values and never wait for a writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from orchestrator.store.records import (
    HeartbeatRecord,
    InstanceRecord,
    PortRecord,
    RevisionRecord,
    ServiceRecord,
    VolumeRecord,
    to_heartbeat,
    to_instance,
    to_port,
    to_revision,
    to_service,
    to_volume,
)
from orchestrator.store.schema import HeartbeatRow, InstanceRow, PortRow, RevisionRow, ServiceRow, VolumeRow

R = TypeVar("R", InstanceRecord, PortRecord, VolumeRecord)


class Reads:
    """Queries on one session. Maps by service uuid hold a tuple, perhaps empty, for every uuid asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def service(self, namespace: str, name: str) -> ServiceRecord | None:
        """The living service of that name."""
        return self._service(select(*ServiceRow.__table__.c).where(ServiceRow.name_key == f"{namespace}/{name}"))

    def service_by_uuid(self, uuid: str) -> ServiceRecord | None:
        """The service, even when it is deleted and the worker is still taking it away."""
        return self._service(select(*ServiceRow.__table__.c).where(ServiceRow.uuid == uuid))

    def page(
        self, namespace: str, *, application: str | None, offset: int, limit: int
    ) -> tuple[tuple[ServiceRecord, ...], int]:
        """Living services of a namespace, oldest first, and how many there are in all pages."""
        wanted = [ServiceRow.namespace == namespace, ServiceRow.name_key.is_not(None)]
        if application is not None:
            wanted.append(ServiceRow.application == application)
        count = self._session.scalar(select(func.count()).select_from(ServiceRow).where(*wanted)) or 0
        query = (
            select(*ServiceRow.__table__.c)
            .where(*wanted)
            .order_by(ServiceRow.created_at, ServiceRow.uuid)
            .offset(offset)
            .limit(limit)
        )
        return tuple(to_service(row) for row in self._session.execute(query)), count

    def instances(self, uuids: Iterable[str]) -> dict[str, tuple[InstanceRecord, ...]]:
        """Living instances of each service, by slot, older before newer."""
        asked = list(uuids)
        query = (
            select(*InstanceRow.__table__.c)
            .where(InstanceRow.service_uuid.in_(asked), InstanceRow.gone_at.is_(None))
            .order_by(InstanceRow.slot, InstanceRow.created_at, InstanceRow.uuid)
        )
        return self._grouped(asked, query, to_instance)

    def instance(self, service_uuid: str, instance_uuid: str) -> InstanceRecord | None:
        """One instance of the service, living or past."""
        query = select(*InstanceRow.__table__.c).where(
            InstanceRow.uuid == instance_uuid, InstanceRow.service_uuid == service_uuid
        )
        row = self._session.execute(query).one_or_none()
        return None if row is None else to_instance(row)

    def ports(self, uuids: Iterable[str]) -> dict[str, tuple[PortRecord, ...]]:
        """Service ports of each service, also of endpoints that were removed and may come back."""
        asked = list(uuids)
        query = (
            select(*PortRow.__table__.c)
            .where(PortRow.service_uuid.in_(asked))
            .order_by(PortRow.container_port, PortRow.endpoint_type)
        )
        return self._grouped(asked, query, to_port)

    def volumes(self, uuids: Iterable[str]) -> dict[str, tuple[VolumeRecord, ...]]:
        """Volumes of each service, by slot and path."""
        asked = list(uuids)
        query = (
            select(*VolumeRow.__table__.c)
            .where(VolumeRow.service_uuid.in_(asked))
            .order_by(VolumeRow.slot, VolumeRow.path)
        )
        return self._grouped(asked, query, to_volume)

    def orphan_volumes(self) -> tuple[VolumeRecord, ...]:
        """Volumes that outlived their service, longest ago first."""
        query = (
            select(*VolumeRow.__table__.c)
            .where(VolumeRow.orphaned_at.is_not(None))
            .order_by(VolumeRow.orphaned_at, VolumeRow.name)
        )
        return tuple(to_volume(row) for row in self._session.execute(query))

    def revisions(self, uuid: str) -> tuple[RevisionRecord, ...]:
        """The kept revisions of a service, newest first."""
        query = (
            select(*RevisionRow.__table__.c).where(RevisionRow.service_uuid == uuid).order_by(RevisionRow.number.desc())
        )
        return tuple(to_revision(row) for row in self._session.execute(query))

    def heartbeat(self, name: str) -> HeartbeatRecord | None:
        """The last sign of life of `name`: "worker" or "engine:<url>"."""
        row = self._session.execute(select(*HeartbeatRow.__table__.c).where(HeartbeatRow.name == name)).one_or_none()
        return None if row is None else to_heartbeat(row)

    def _service(self, query: Select[Any]) -> ServiceRecord | None:
        row = self._session.execute(query).one_or_none()
        return None if row is None else to_service(row)

    def _grouped(self, uuids: list[str], query: Select[Any], convert: Callable[[Any], R]) -> dict[str, tuple[R, ...]]:
        groups: dict[str, list[R]] = {uuid: [] for uuid in uuids}
        for row in self._session.execute(query):
            groups[row.service_uuid].append(convert(row))
        return {uuid: tuple(records) for uuid, records in groups.items()}
