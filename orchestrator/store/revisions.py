"""Revisions made from revisions: a moved tag, a rollback, a restart. What they share is resolved already."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from orchestrator.spec import fingerprint
from orchestrator.store.schema import KEPT_REVISIONS, RevisionRow, ServiceRow


def add_revision_like(
    session: Session,
    service: ServiceRow,
    like: RevisionRow,
    now: datetime,
    reason: str,
    *,
    image_id: str | None = None,
    image_digest: str | None = None,
    restart: int | None = None,
) -> int:
    """A new wanted revision of the same template; with another image or another restart its instances differ.

    Answers its number. The caller has locked the service's row and commits.
    """
    newest = session.scalar(select(func.max(RevisionRow.number)).where(RevisionRow.service_uuid == service.uuid))
    image = image_id or like.image_id
    again = like.restart if restart is None else restart
    number = (newest or 0) + 1
    session.add(
        RevisionRow(
            service_uuid=service.uuid,
            number=number,
            generation=service.generation,
            spec=like.spec,
            template_hash=like.template_hash,
            image_ref=like.image_ref,
            image_id=image,
            image_digest=image_digest if image_id else like.image_digest,
            fingerprint=fingerprint(like.template_hash, image, again) if image else None,
            resolved_at=now if image else None,
            restart=again,
            reason=reason,
            created_at=now,
        )
    )
    service.revision = number
    service.last_redeployed_at = now
    session.flush()
    forget_old_revisions(session, service)
    return number


def forget_old_revisions(session: Session, service: ServiceRow) -> None:
    """Keep the newest twenty, and the one to go back to."""
    old = RevisionRow.number <= service.revision - KEPT_REVISIONS
    query = delete(RevisionRow).where(RevisionRow.service_uuid == service.uuid, old)
    if service.good_revision is not None:
        query = query.where(RevisionRow.number != service.good_revision)
    session.execute(query)
