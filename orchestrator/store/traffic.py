"""What went through the proxy: a row for each service and minute, and where the counting goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from orchestrator.ingress.traffic import Tally
from orchestrator.store.schema import ProxyCounterRow, ProxyReadingRow

_NAME = "haproxy"


@dataclass(frozen=True)
class TrafficMinute:
    """A minute's traffic of a service; `response_ms` is the average, None without requests."""

    minute: datetime
    requests: int
    errors_5xx: int
    bytes_in: int
    bytes_out: int
    sessions_max: int
    response_ms: float | None


class Traffic:
    """The one worker that leads adds, the API reads. The caller commits."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def readings(self) -> dict[str, list[int]]:
        """The counters as they were last read."""
        row = self._session.get(ProxyReadingRow, _NAME)
        return dict(row.readings) if row else {}

    def keep_readings(self, readings: Mapping[str, list[int]]) -> None:
        """In the transaction of `add`, so that nothing is counted twice or not at all."""
        self._session.merge(ProxyReadingRow(name=_NAME, readings=dict(readings)))

    def add(self, at: datetime, tallies: Mapping[str, Tally]) -> None:
        """Add what came since the last time to the rows of this minute."""
        minute = at.replace(second=0, microsecond=0)
        for uuid, tally in tallies.items():
            row = self._session.get(ProxyCounterRow, (uuid, minute))
            if row is None:
                row = ProxyCounterRow(service_uuid=uuid, minute=minute, requests=0, errors_5xx=0, bytes_in=0)
                row.bytes_out, row.sessions_max, row.response_ms_sum = 0, 0, 0.0
                self._session.add(row)
            row.requests += tally.requests
            row.errors_5xx += tally.errors_5xx
            row.bytes_in += tally.bytes_in
            row.bytes_out += tally.bytes_out
            row.sessions_max = max(row.sessions_max, tally.sessions)
            row.response_ms_sum += tally.response_ms

    def minutes(self, service_uuid: str, start: datetime, end: datetime) -> list[TrafficMinute]:
        """The minutes that begin in [start, end], oldest first; those without traffic are left out."""
        table = ProxyCounterRow
        query = select(table).where(table.service_uuid == service_uuid, table.minute >= start, table.minute <= end)
        return [
            TrafficMinute(
                row.minute,
                row.requests,
                row.errors_5xx,
                row.bytes_in,
                row.bytes_out,
                row.sessions_max,
                row.response_ms_sum / row.requests if row.requests else None,
            )
            for row in self._session.scalars(query.order_by(table.minute))
        ]

    def purge(self, before: datetime) -> None:
        """Drop older minutes."""
        self._session.execute(delete(ProxyCounterRow).where(ProxyCounterRow.minute < before))
