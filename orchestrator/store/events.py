"""The events: what happened and why, written in the transaction of the thing itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, delete, insert, select
from sqlalchemy.orm import Session

from orchestrator.store.records import EventRecord, to_event
from orchestrator.store.schema import EventRow


class Events:
    """Events of one service or of the whole installation. Nothing here commits."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        *,
        at: datetime,
        kind: str,
        reason: str,
        service_uuid: str | None = None,
        service_name: str = "",
        instance_uuid: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one event; it lasts when the caller's transaction commits. `service_name` is namespace/name."""
        self._session.execute(
            insert(EventRow).values(
                at=at,
                kind=kind,
                reason=reason,
                service_uuid=service_uuid,
                service_name=service_name,
                instance_uuid=instance_uuid,
                data=dict(data or {}),
            )
        )

    def list(
        self, service_uuid: str | None, *, after: int = 0, limit: int = 100, newest_first: bool = False
    ) -> tuple[EventRecord, ...]:
        """At most `limit` events with an id above `after`, of one service or, with None, of all."""
        query = select(*EventRow.__table__.c).where(EventRow.id > after).limit(limit)
        if service_uuid is not None:
            query = query.where(EventRow.service_uuid == service_uuid)
        query = query.order_by(EventRow.id.desc() if newest_first else EventRow.id)
        return tuple(to_event(row) for row in self._session.execute(query))

    def purge(self, before: datetime) -> int:
        """Drop the events older than `before`; the answer is how many."""
        result = self._session.execute(delete(EventRow).where(EventRow.at < before))
        return result.rowcount if isinstance(result, CursorResult) else 0
