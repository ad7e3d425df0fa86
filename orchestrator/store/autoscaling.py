"""What the autoscaler reads and writes: targets beside the spec, where wait periods begin, the last evaluations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from orchestrator.store.records import ServiceRecord, to_service
from orchestrator.store.schema import AutoscalerRoundRow, ServiceRow

AUTOSCALER, USER = "autoscaler", "user"  # who changed the count last, until that has come to its end
_LAST = "last"


class Autoscaling:
    """Queries and conditional writes; the caller commits. A user's write in between wins: then nothing is written."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def candidates(self, uuids: Collection[str] | None = None) -> list[ServiceRecord]:
        """Services (of `uuids`, None: all) that are AUTO, started and not deleted; one query."""
        query = select(*ServiceRow.__table__.c).where(
            ServiceRow.scale_target.is_not(None), ServiceRow.deleted_at.is_(None)
        )
        if uuids is not None:
            query = query.where(ServiceRow.uuid.in_(list(uuids)))
        found = []
        for row in self._session.execute(query.order_by(ServiceRow.created_at, ServiceRow.uuid)):
            try:
                record = to_service(row)
            except ValueError:
                continue  # its own trouble, and its own status says so
            if record.spec.scaling_mode == "AUTO" and record.spec.target_state == "STARTED":
                found.append(record)
        return found

    def act(self, service: ServiceRecord, target: int, now: datetime) -> bool:
        """Want `target` instances from now on; False when somebody wrote since `service` was read.

        The generation stays: it counts what users declare.
        """
        columns = {"scale_target": target, "last_autoscaled_at": now, "scaled_at": now, "scaling_by": AUTOSCALER}
        return self._write(service, columns)

    def settled(self, service: ServiceRecord, now: datetime) -> bool:
        """The last change of the count has come to its end: the wait period runs from now."""
        ended = {"last_autoscaled_at": now} if service.scaling_by == AUTOSCALER else {}
        return self._write(service, {"scaled_at": now, "scaling_by": "", **ended})

    def clock_went_back(self, service: ServiceRecord, now: datetime) -> bool:
        """The wait period began in the future, so it begins now: else it would last as long as the clock was wrong."""
        return self._write(service, {"scaled_at": now})

    def last_round(self) -> dict[str, dict[str, Any]]:
        """The last evaluations, by service uuid."""
        row = self._session.get(AutoscalerRoundRow, _LAST)
        return dict(row.evaluations) if row else {}

    def keep_round(self, at: datetime, evaluations: Mapping[str, Mapping[str, Any]]) -> None:
        """In the place of the ones before."""
        self._session.merge(AutoscalerRoundRow(name=_LAST, at=at, evaluations=dict(evaluations)))

    def _write(self, service: ServiceRecord, columns: Mapping[str, Any]) -> bool:
        seen = (
            ServiceRow.uuid == service.uuid,
            ServiceRow.generation == service.generation,
            ServiceRow.scale_target == service.scale_target,
            ServiceRow.deleted_at.is_(None),
        )
        result = self._session.execute(update(ServiceRow).where(*seen).values(**columns))
        return isinstance(result, CursorResult) and result.rowcount == 1
