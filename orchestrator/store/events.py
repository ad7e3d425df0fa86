"""The events: what happened and why, written in the transaction of the thing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, delete, func, insert, select, text
from sqlalchemy.orm import Session, scoped_session

from orchestrator.store.records import EventRecord, to_event
from orchestrator.store.schema import EventRow

# PostgreSQL hands out ids at the insert and shows rows at the commit: 8 may be seen while 7 is still on its way, and
# a reader who goes on behind 8 would never see 7. So before its first event a transaction takes a shared advisory lock
# that names an id below all those it will be given, and readers stop at the lowest one named. No lock ever waits.
_LOCK_SPACE = 0x534B_594C  # the upper half of the lock's number
_DECLARE = text(
    "SELECT pg_advisory_xact_lock_shared((CAST(:space AS bigint) << 32)"
    " + (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM events_id_seq))"
)
_DECLARED = text(
    "SELECT min(CAST(CAST(objid AS text) AS bigint)) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
    " AND CAST(CAST(classid AS text) AS bigint) = :space"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_NOTE = "events declared in"


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
        self._declare()
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
        self,
        service_uuid: str | None,
        *,
        after: int = 0,
        limit: int = 100,
        newest_first: bool = False,
        kinds: Sequence[str] = (),
    ) -> tuple[EventRecord, ...]:
        """At most `limit` settled events with an id above `after`, of one service or, with None, of all."""
        query = select(*EventRow.__table__.c).where(EventRow.id > after, EventRow.id <= self.settled()).limit(limit)
        if service_uuid is not None:
            query = query.where(EventRow.service_uuid == service_uuid)
        if kinds:
            query = query.where(EventRow.kind.in_(kinds))
        query = query.order_by(EventRow.id.desc() if newest_first else EventRow.id)
        return tuple(to_event(row) for row in self._session.execute(query))

    def settled(self) -> int:
        """The highest id below which no event can turn up any more, in the queries that follow this one.

        The order matters: whoever was given an id up to `highest` had declared it before, so by the second query it
        is either still among the declared, or committed and seen by later queries.
        """
        highest = self._session.scalar(select(func.max(EventRow.id))) or 0
        if not self._on_postgres():
            return highest
        declared = self._session.scalar(_DECLARED, {"space": _LOCK_SPACE})
        return highest if declared is None else min(highest, int(declared))

    def purge(self, before: datetime) -> int:
        """Drop the events older than `before`; the answer is how many."""
        result = self._session.execute(delete(EventRow).where(EventRow.at < before))
        return result.rowcount if isinstance(result, CursorResult) else 0

    def _declare(self) -> None:
        """Once in a transaction; a savepoint's would go with it, so there each event is declared."""
        if not self._on_postgres():
            return
        # a registry of sessions may stand for one, and lacks some of a session's methods
        session = self._session() if isinstance(self._session, scoped_session) else self._session
        info, nested = session.info, session.in_nested_transaction()
        if nested or info.get(_NOTE) is None or info[_NOTE] is not session.get_transaction():
            session.execute(_DECLARE, {"space": _LOCK_SPACE})
            info[_NOTE] = None if nested else session.get_transaction()

    def _on_postgres(self) -> bool:
        return self._session.get_bind().dialect.name == "postgresql"
