"""Custom domains: each belongs to one living service, and moves to another in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from orchestrator.store.events import Events
from orchestrator.store.schema import ServiceRow

_LOCK = 0x536B79446F6D  # any number that nobody else takes


class DomainTaken(Exception):
    """The domain belongs to another living service; the message names it and says what can be done."""


def lock_domains(session: Session) -> None:
    """Let nobody else claim a domain until the transaction ends. Comes before any row is locked.

    On SQLite the writing transaction is alone already.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def claim(session: Session, domain: str, *, uuid: str, base_domain: str, take: bool) -> Sequence[ServiceRow]:
    """Those who must lose `domain` so that service `uuid` can have it, locked. Raises DomainTaken.

    Without `take` nobody loses anything. A default domain can't be taken: it is its service's for life.
    """
    domain = domain.lower()  # kept as the user wrote it, compared as resolvers do
    label, _, rest = domain.partition(".")
    if base_domain and rest == base_domain.lower():
        others = select(ServiceRow).where(ServiceRow.deleted_at.is_(None), ServiceRow.uuid != uuid)
        named = others.where(ServiceRow.name + "-" + ServiceRow.namespace == label)
        if holder := session.scalars(named).first():
            raise DomainTaken(f"{domain} is the default domain of service {holder.namespace}/{holder.name}")
    held = func.lower(ServiceRow.spec["custom_domain_name"].as_string()) == domain
    query = select(ServiceRow).where(ServiceRow.deleted_at.is_(None), held, ServiceRow.uuid != uuid)
    holders = session.scalars(query.order_by(ServiceRow.created_at, ServiceRow.uuid)).all()
    if holders and not take:
        raise DomainTaken(
            f"{domain} belongs to service {holders[0].namespace}/{holders[0].name}; "
            "the same request with ?take_domain=true moves it here in one write"
        )
    if not holders:
        return ()
    # a pass writes its services from old to new: locked in the same order, neither waits for the other in a circle
    wanted = ServiceRow.uuid.in_([uuid, *(holder.uuid for holder in holders)])
    in_order = select(ServiceRow).where(wanted).order_by(ServiceRow.created_at, ServiceRow.uuid)
    locked = session.scalars(in_order.with_for_update().execution_options(populate_existing=True)).all()
    return [row for row in locked if row.uuid != uuid and row.deleted_at is None]


def move(session: Session, domain: str, losers: Sequence[ServiceRow], taker: ServiceRow, now: datetime) -> None:
    """The losers' specs are without it from now on; an event on both sides."""
    to = f"{taker.namespace}/{taker.name}"
    for row in losers:
        origin = f"{row.namespace}/{row.name}"
        row.spec = {**row.spec, "custom_domain_name": ""}
        row.generation += 1
        row.updated_at = now
        for side in (row, taker):
            Events(session).add(
                at=now,
                kind="domain_moved",
                reason=f"{domain} moved from {origin} to {to}",
                service_uuid=side.uuid,
                service_name=f"{side.namespace}/{side.name}",
                data={"generation": side.generation, "domain": domain, "from": origin, "to": to},
            )
