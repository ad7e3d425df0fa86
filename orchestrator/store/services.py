"""What users write: declare, change and delete services. Each method is one transaction, durable when it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orchestrator.spec import ServiceSpec
from orchestrator.store.database import begin_write
from orchestrator.store.domains import claim, lock_domains, move
from orchestrator.store.events import Events
from orchestrator.store.links import refuse_if_linked
from orchestrator.store.ports import allocate_ports
from orchestrator.store.records import ServiceRecord, to_service
from orchestrator.store.revisions import add_revision_like, forget_old_revisions
from orchestrator.store.scaling import Rescale, rescale, set_count
from orchestrator.store.schema import RevisionRow, ServiceRow, SlotRow


class NameTaken(Exception):
    """The namespace has a living service of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"App {name} already exists")
        self.name = name


class Gone(Exception):
    """The service was deleted, or never was."""


class Stale(Exception):
    """Somebody else wrote first: read again, apply the change to what is there now, try again."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"generation {expected} was expected, it is {actual}")
        self.expected = expected
        self.actual = actual


class NoRevision(Exception):
    """There is no such revision to run again; the message says why."""


# what a revision is made of; the rest of a spec is not part of it
TEMPLATE_FIELDS = frozenset(
    {
        "image_name",
        "image_tag",
        "run_command",
        "entrypoint",
        "instance_envvars",
        "instance_ports",
        "volumes",
        "instance_size",
        "linked_to_apps",
    }
)


class ServiceStore:
    """Accepted writes. Every method ends whatever transaction `session` is in and commits its own.

    `base_domain`: under which services have their default domains, which nobody else may claim.
    """

    def __init__(self, session: Session, base_domain: str = "") -> None:
        self._session = session
        self._base_domain = base_domain

    def create(
        self,
        namespace: str,
        spec: ServiceSpec,
        *,
        uuid: str,
        created_by: str,
        now: datetime,
        choose_port: Callable[[], int],
        take_domain: bool = False,
    ) -> ServiceRecord:
        """A new service at generation 1 and revision 1. Raises NameTaken, DomainTaken, NoPortLeft.

        `choose_port()` proposes a service port; it is asked again while the proposed one is taken. `take_domain`:
        its custom domain may be another service's, which loses it.
        """
        name, started = spec.service_name, spec.target_state == "STARTED"
        name_key = f"{namespace}/{name}"
        row = ServiceRow(
            uuid=uuid,
            namespace=namespace,
            name=name,
            name_key=name_key,
            created_by=created_by,
            application=spec.application,
            spec=spec.model_dump(mode="json"),
            generation=1,
            revision=0,
            scale_target=spec.target_num_instances if spec.scaling_mode == "AUTO" else None,
            current_status="Deploying" if started else "Stopped",
            status_reason="created",
            is_deploying=started,
            created_at=now,
            updated_at=now,
            started_at=now if started else None,
        )
        with self._transaction():
            if spec.custom_domain_name:
                lock_domains(self._session)
            if self._session.scalar(select(ServiceRow.uuid).where(ServiceRow.name_key == name_key)):
                raise NameTaken(name)
            losers = self._claim(uuid, spec, take_domain)
            self._session.add(row)
            try:
                self._session.flush()
            except IntegrityError as error:  # on PostgreSQL another create may win between the look and the insert
                raise NameTaken(name) from error
            self._add_revision(row, spec, now, "created")
            allocate_ports(self._session, row.uuid, spec.instance_ports, choose_port)
            self._event(row, now, "created", f"created by {created_by}", {"image": spec.image_ref})
            move(self._session, spec.custom_domain_name, losers, row, now)
            return to_service(row)

    def replace_spec(
        self,
        uuid: str,
        spec: ServiceSpec,
        *,
        now: datetime,
        expected_generation: int,
        recheck_image: bool,
        reason: str,
        choose_port: Callable[[], int],
        take_domain: bool = False,
        counted: bool = False,
    ) -> ServiceRecord:
        """The service with `spec` instead of its present one. Raises Gone, Stale, DomainTaken, NoPortLeft.

        A new revision appears only when the template changes; count, state, scaling, domain and application do not
        touch running instances. `recheck_image` asks for a look whether the tag moved. When nothing changes and no
        recheck is asked for, the write is accepted without a trace (the generation stays), except that a waiting
        retry becomes due at once. `counted`: the user named the number of instances, be it the one of the spec.
        """
        with self._transaction():
            losers = self._claim_for_change(uuid, spec, take_domain, expected_generation)
            row = self._living(uuid)
            if row.generation != expected_generation:
                raise Stale(expected_generation, row.generation)
            row.pull_failures, row.pull_retry_at, row.pull_reason = 0, None, ""
            rescaled = rescale(row, spec, counted=counted)
            if rescaled.writes or recheck_image:
                self._apply(row, rescaled, now=now, recheck_image=recheck_image, reason=reason)
                allocate_ports(self._session, row.uuid, spec.instance_ports, choose_port)
            move(self._session, spec.custom_domain_name, losers, row, now)
            return to_service(row)

    def delete(self, uuid: str, *, delete_volumes: bool, now: datetime, force: bool = True) -> None:
        """Free the name at once and leave the rest to the worker. Raises Gone, and LinkedFrom without `force`."""
        with self._transaction():
            row = self._living(uuid)
            if not force:
                refuse_if_linked(self._session, row)
            row.generation += 1
            row.name_key = None
            row.deleted_at = row.updated_at = now
            row.delete_volumes = delete_volumes
            row.is_deploying, row.current_status, row.status_reason = True, "Deploying", "being deleted"
            row.pull_failures, row.pull_retry_at, row.pull_reason = 0, None, ""
            fate = "its volumes are to be removed" if delete_volumes else "its volumes are kept"
            self._event(row, now, "deleted", f"deleted; {fate}", {"delete_volumes": delete_volumes})

    def restart(self, uuid: str, *, now: datetime) -> ServiceRecord:
        """Replace all instances, rolling, by equal ones. Raises Gone, NoRevision."""
        with self._transaction():
            row = self._living(uuid)
            wanted = self._session.get(RevisionRow, (row.uuid, row.revision))
            if wanted is None or wanted.image_id is None:
                raise NoRevision(f"revision {row.revision} is still being deployed; there is nothing to restart yet")
            row.generation += 1
            add_revision_like(self._session, row, wanted, now, "restart", restart=wanted.restart + row.generation)
            self._moved(row, now, "restarted", "rolling restart")
            return to_service(row)

    def roll_back(self, uuid: str, *, to: int | None, now: datetime) -> ServiceRecord:
        """Run revision `to` again (None: the newest other one), as a new revision. Raises Gone, NoRevision.

        The template of the user's spec becomes that of the revision, with the very image it ran; count, state,
        scaling and domains stay.
        """
        with self._transaction():
            row = self._living(uuid)
            source = self._revision_to(row, to)
            kept = ServiceSpec.model_validate(row.spec)
            old = ServiceSpec.model_validate(source.spec)
            try:
                spec = ServiceSpec.model_validate(
                    kept.model_dump()
                    | {key: value for key, value in old.model_dump().items() if key in TEMPLATE_FIELDS}
                )
            except ValueError as error:
                raise NoRevision(f"revision {source.number} does not fit the service's scaling: {error}") from error
            row.generation += 1
            row.spec = spec.model_dump(mode="json")
            add_revision_like(self._session, row, source, now, f"rollback to revision {source.number}")
            self._moved(row, now, "rolled_back", f"rolled back to revision {source.number}")
            return to_service(row)

    def _revision_to(self, row: ServiceRow, to: int | None) -> RevisionRow:
        query = select(RevisionRow).where(RevisionRow.service_uuid == row.uuid, RevisionRow.image_id.is_not(None))
        if to is not None:
            found = self._session.scalar(query.where(RevisionRow.number == to))
            why = f"revision {to} is not kept, or its image was never known"
        else:
            wanted = self._session.get(RevisionRow, (row.uuid, row.revision))
            others = query.where(RevisionRow.number < row.revision).order_by(RevisionRow.number.desc())
            prints = wanted.fingerprint if wanted else None
            found = next((r for r in self._session.scalars(others) if r.fingerprint != prints), None)
            why = "there is no earlier revision to go back to"
        if found is None:
            raise NoRevision(why)
        return found

    def _moved(self, row: ServiceRow, now: datetime, kind: str, words: str) -> None:
        """What a new revision by request has in common with a deploy."""
        started = row.spec["target_state"] == "STARTED"
        row.updated_at = now
        row.rollout_failure = ""
        row.recheck_image = row.image_missing = False
        row.pull_failures, row.pull_retry_at, row.pull_reason = 0, None, ""
        self._session.execute(delete(SlotRow).where(SlotRow.service_uuid == row.uuid))
        if started:
            row.is_deploying, row.current_status, row.status_reason = True, "Deploying", words
        self._event(row, now, kind, words, {})

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        begin_write(self._session)
        try:
            yield
            self._session.commit()
        except BaseException:
            self._session.rollback()
            raise

    def _claim(self, uuid: str, spec: ServiceSpec, take: bool) -> Sequence[ServiceRow]:
        domain = spec.custom_domain_name
        return claim(self._session, domain, uuid=uuid, base_domain=self._base_domain, take=take) if domain else ()

    def _claim_for_change(
        self, uuid: str, spec: ServiceSpec, take: bool, expected_generation: int
    ) -> Sequence[ServiceRow]:
        """Those who lose a domain that is new to the service. What is read here is read again once it is locked."""
        if not spec.custom_domain_name:
            return ()
        lock_domains(self._session)
        row = self._session.get(ServiceRow, uuid, populate_existing=True)
        if row is None or row.deleted_at is not None:
            raise Gone(uuid)
        if row.generation != expected_generation:  # its domain may have been taken from it meanwhile
            raise Stale(expected_generation, row.generation)
        keeps = str(row.spec.get("custom_domain_name", "")).lower() == spec.custom_domain_name.lower()
        return () if keeps and not take else self._claim(uuid, spec, take)

    def _living(self, uuid: str) -> ServiceRow:
        """The row, locked until the transaction ends."""
        row = self._session.get(ServiceRow, uuid, with_for_update=True, populate_existing=True)
        if row is None or row.deleted_at is not None:
            raise Gone(uuid)
        return row

    def _apply(self, row: ServiceRow, rescaled: Rescale, *, now: datetime, recheck_image: bool, reason: str) -> None:
        spec, change = rescaled.spec, rescaled.change
        row.generation += 1
        template_changed = ServiceSpec.model_validate(row.spec).template_hash() != spec.template_hash()
        row.spec = spec.model_dump(mode="json")
        set_count(row, rescaled, now)
        row.application = spec.application
        row.updated_at = now
        started = spec.target_state == "STARTED"
        if "target_state" in change.fields:
            row.started_at, row.stopped_at = (now, row.stopped_at) if started else (row.started_at, now)
        words = "; ".join(text for text in (reason, *change.words) if text)
        words = words or ("image to be looked at again" if recheck_image else "target_num_instances as it is")
        self._event(row, now, change.kind, words, {"fields": list(change.fields), "changes": dict(change.values)})
        wanted = self._session.get(RevisionRow, (row.uuid, row.revision))
        if template_changed or wanted is None:
            redeploy = True
        else:  # a failed deploy went back: only naming the image asks for it again, a change of the count does not
            redeploy = recheck_image and wanted.template_hash != spec.template_hash()
        if redeploy or recheck_image:
            row.rollout_failure = ""
        if redeploy:
            self._add_revision(row, spec, now, words)
            self._event(row, now, "revision_created", words, {})
            row.recheck_image = row.image_missing = False
            row.last_redeployed_at = now if started else row.last_redeployed_at
        elif recheck_image and wanted is not None and wanted.image_id is not None:
            row.recheck_image = True
        if redeploy or recheck_image or "target_state" in change.fields:
            self._session.execute(delete(SlotRow).where(SlotRow.service_uuid == row.uuid))  # no waiting after a change
        moves = redeploy or recheck_image or "target_num_instances" in change.fields
        if "target_state" in change.fields or (started and moves):
            row.is_deploying, row.current_status, row.status_reason = True, "Deploying", words

    def _add_revision(self, row: ServiceRow, spec: ServiceSpec, now: datetime, reason: str) -> None:
        """The next revision, wanted from now on, its image not resolved yet; the oldest beyond 20 go."""
        of_service = RevisionRow.service_uuid == row.uuid
        newest = self._session.scalar(select(func.max(RevisionRow.number)).where(of_service)) or 0
        row.revision = newest + 1
        self._session.add(
            RevisionRow(
                service_uuid=row.uuid,
                number=row.revision,
                generation=row.generation,
                spec=spec.model_dump(mode="json"),
                template_hash=spec.template_hash(),
                image_ref=spec.image_ref,
                reason=reason,
                created_at=now,
            )
        )
        self._session.flush()
        forget_old_revisions(self._session, row)

    def _event(self, row: ServiceRow, now: datetime, kind: str, reason: str, data: dict[str, Any]) -> None:
        Events(self._session).add(
            at=now,
            kind=kind,
            reason=reason,
            service_uuid=row.uuid,
            service_name=f"{row.namespace}/{row.name}",
            data={"generation": row.generation, "revision": row.revision, **data},
        )
