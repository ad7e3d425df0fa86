"""How many instances live on which engine, by region and size."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orchestrator.state import Phase
from orchestrator.store.schema import InstanceRow, ServiceRow

_ENDED = [phase.value for phase in (Phase.EXITED, Phase.VANISHED, Phase.GONE)]


def living_by_size(session: Session) -> Mapping[str, Counter[str]]:
    """region name -> size name -> instances that take memory there: those about to start, running or ending."""
    region, size = ServiceRow.spec["region_name"].as_string(), ServiceRow.spec["instance_size"].as_string()
    living = select(InstanceRow.service_uuid, func.count().label("number"))
    living = living.where(InstanceRow.gone_at.is_(None), InstanceRow.phase.not_in(_ENDED))
    counted = living.group_by(InstanceRow.service_uuid).subquery()
    query = select(region, size, counted.c.number).join(counted, ServiceRow.uuid == counted.c.service_uuid)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for region_name, size_name, number in session.execute(query):
        found[region_name or ""][size_name or ""] += number
    return found
