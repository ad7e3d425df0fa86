"""Who links to whom: read for answers, and asked before a target is deleted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.store.schema import ServiceRow


class LinkedFrom(Exception):
    """Others link to the service that is to be deleted; the message names them."""

    def __init__(self, name: str, linking: Collection[str]) -> None:
        super().__init__(
            f"service {name} is linked from {', '.join(sorted(linking))}: take the links out first, or delete it "
            "with ?force=true"
        )


@dataclass(frozen=True)
class Links:
    """A service's links. `linked_from`: name of who links to it -> alias; `not_running`: targets that do not run."""

    linked_from: Mapping[str, str] = field(default_factory=dict)
    not_running: tuple[str, ...] = ()


def links_in(session: Session, namespaces: Collection[str]) -> Mapping[tuple[str, str], Links]:
    """(namespace, name) -> links, of every living service there; one query, which reads no whole spec."""
    query = select(
        ServiceRow.namespace, ServiceRow.name, ServiceRow.current_status, ServiceRow.spec["linked_to_apps"]
    ).where(ServiceRow.namespace.in_(namespaces), ServiceRow.name_key.is_not(None))
    rows = [(namespace, name, status, links or {}) for namespace, name, status, links in session.execute(query)]
    running = {(namespace, name) for namespace, name, status, _ in rows if status in ("Running", "PartialRunning")}
    linked_from: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for namespace, name, _, links in rows:
        for target, alias in links.items():
            linked_from[namespace, target][name] = alias
    return {
        (namespace, name): Links(
            linked_from.get((namespace, name), {}),
            tuple(sorted(target for target in links if (namespace, target) not in running)),
        )
        for namespace, name, _, links in rows
    }


def refuse_if_linked(session: Session, row: ServiceRow) -> None:
    """Raise LinkedFrom when another living service of the namespace links to this one."""
    links = links_in(session, [row.namespace]).get((row.namespace, row.name), Links())
    others = [name for name in links.linked_from if name != row.name]
    if others:
        raise LinkedFrom(row.name, others)
