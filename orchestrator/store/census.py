"""How many there are of what: the counts that monitoring reads, in three queries however many services."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orchestrator.state import Phase
from orchestrator.store.schema import HeartbeatRow, InstanceRow, ServiceRow


@dataclass(frozen=True)
class ServiceCount:
    """A living service. `instances` by phase; of the running ones `ready` may get traffic; `wanted` while started."""

    namespace: str
    name: str
    status: str
    automatic: bool
    wanted: int
    instances: Mapping[str, int] = field(default_factory=dict)
    ready: int = 0
    pull_failures: int = 0


@dataclass(frozen=True)
class Sign:
    """A sign of life: "worker", or "engine:<url>" as the worker last saw it; `trouble` "" when it answered."""

    name: str
    at: datetime
    trouble: str


class Census:
    """Counts on one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def services(self) -> list[ServiceCount]:
        """Every living service, by namespace and name."""
        phases: dict[str, Counter[str]] = defaultdict(Counter)
        ready: Counter[str] = Counter()
        here = (InstanceRow.gone_at.is_(None), InstanceRow.phase.not_in([Phase.GONE.value, Phase.VANISHED.value]))
        columns = (InstanceRow.service_uuid, InstanceRow.phase, InstanceRow.ready_at.is_not(None))
        for uuid, phase, is_ready, number in self._session.execute(
            select(*columns, func.count()).where(*here).group_by(*columns)
        ):
            phases[uuid][phase] += number
            ready[uuid] += number if is_ready and phase == Phase.RUNNING.value else 0
        rows = self._session.scalars(
            select(ServiceRow).where(ServiceRow.name_key.is_not(None)).order_by(ServiceRow.name_key)
        )
        return [
            ServiceCount(
                row.namespace,
                row.name,
                row.current_status,
                row.spec.get("scaling_mode") == "AUTO",
                _wanted(row),
                phases[row.uuid],
                ready[row.uuid],
                row.pull_failures,
            )
            for row in rows
        ]

    def names(self) -> dict[str, str]:
        """service uuid -> namespace/name of all living services. A deleted one may have left its name to another."""
        living = ServiceRow.name_key.is_not(None)
        query = select(ServiceRow.uuid, ServiceRow.namespace, ServiceRow.name).where(living)
        return {uuid: f"{namespace}/{name}" for uuid, namespace, name in self._session.execute(query)}

    def signs(self) -> list[Sign]:
        """When the worker renewed last, and when it last saw each engine."""
        rows = self._session.scalars(select(HeartbeatRow).order_by(HeartbeatRow.name))
        return [Sign(row.name, row.at, row.trouble) for row in rows]


def _wanted(row: ServiceRow) -> int:
    if row.spec.get("target_state") != "STARTED":
        return 0
    if row.spec.get("scaling_mode") == "AUTO" and row.scale_target is not None:
        return row.scale_target
    return int(row.spec.get("target_num_instances", 0))
