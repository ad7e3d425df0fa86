"""Volumes that outlived their service: an operator asks for their removal here, the worker does it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.store.database import begin_write
from orchestrator.store.events import Events
from orchestrator.store.records import VolumeRecord, to_volume
from orchestrator.store.schema import VolumeRow


class Orphans:
    """Orphaned volumes on one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def request_removal(self, name: str, now: datetime) -> VolumeRecord | None:
        """Mark the orphan for removal and commit; None when there is no orphan of that name. Twice is as once."""
        begin_write(self._session)
        query = select(VolumeRow).where(VolumeRow.name == name, VolumeRow.orphaned_at.is_not(None)).with_for_update()
        row = self._session.scalar(query)
        if row is not None and row.remove_requested_at is None:
            row.remove_requested_at = now
            Events(self._session).add(
                at=now,
                kind="volume_removal_requested",
                reason="an operator asked for the removal of an orphaned volume",
                service_uuid=row.service_uuid,
                service_name=row.service_name,
                data={"volume": row.name},
            )
        found = None if row is None else to_volume(row)
        self._session.commit()
        return found

    def to_remove(self) -> tuple[VolumeRecord, ...]:
        """The orphans whose removal was asked for, longest ago first."""
        query = select(VolumeRow).where(VolumeRow.orphaned_at.is_not(None), VolumeRow.remove_requested_at.is_not(None))
        return tuple(to_volume(row) for row in self._session.scalars(query.order_by(VolumeRow.remove_requested_at)))
