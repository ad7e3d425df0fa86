"""What a reconcile pass writes: observations, progress and reasons. Never the user's spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from orchestrator.actions import Rollback
from orchestrator.engine.base import VolumeFact
from orchestrator.spec import fingerprint
from orchestrator.state import Instance, Phase, Retry
from orchestrator.status import Status
from orchestrator.store.addresses import Given, give_up_subnet, keep_given
from orchestrator.store.events import Events
from orchestrator.store.revisions import add_revision_like
from orchestrator.store.schema import InstanceRow, PortRow, RevisionRow, ServiceRow, SlotRow, VolumeRow


class PassWrites:
    """Writes inside the pass's one transaction; the caller commits."""

    def __init__(self, session: Session, now: datetime) -> None:
        self._session = session
        self._now = now

    def event(
        self, kind: str, reason: str, *, service: tuple[str, str] | None, instance: str | None = None, **data: Any
    ) -> None:
        """`service` is (uuid, namespace/name), or None for what concerns the whole installation."""
        uuid, name = service or (None, "")
        Events(self._session).add(
            at=self._now,
            kind=kind,
            reason=reason,
            service_uuid=uuid,
            service_name=name,
            instance_uuid=instance,
            data=data,
        )

    def add_instance(self, service_uuid: str, revision: int, instance: Instance) -> None:
        """The row that comes before the container, or that of a container found without one."""
        self._session.add(
            InstanceRow(
                uuid=instance.uuid,
                service_uuid=service_uuid,
                slot=instance.slot,
                revision=revision,
                created_at=instance.created_at or self._now,
                **_observed_columns(instance),
            )
        )
        self._session.flush()

    def observe_instance(self, instance: Instance) -> None:
        """Bring the row to what was seen; a row that is closed already stays closed."""
        self._session.execute(
            update(InstanceRow)
            .where(InstanceRow.uuid == instance.uuid, InstanceRow.gone_at.is_(None))
            .values(**_observed_columns(instance))
        )

    def instance_running(self, uuid: str, container_id: str, started_at: datetime, unready: str = "") -> None:
        """Its launch succeeded. `unready`: why it is not ready yet."""
        columns = {"container_id": container_id, "started_at": started_at, "unready": unready}
        self._update_instance(uuid, phase=Phase.RUNNING.value, **columns)

    def instance_stopping(self, uuid: str, reason: str) -> None:
        """The order to stop stands in the row before the signal is sent, so that its end is no crash."""
        self._update_instance(uuid, phase=Phase.STOPPING.value, reason=reason)

    def close_instance(self, uuid: str, **columns: Any) -> None:
        """The container is gone; the row stays for history and logs."""
        self._update_instance(uuid, phase=Phase.GONE.value, gone_at=self._now, **columns)

    def _update_instance(self, uuid: str, **columns: Any) -> None:
        """A closed row stays as it is: another worker may have closed it while we had lost the lease."""
        living = (InstanceRow.uuid == uuid, InstanceRow.gone_at.is_(None))
        self._session.execute(update(InstanceRow).where(*living).values(**columns))

    def set_slot(self, service_uuid: str, slot: int, retry: Retry) -> None:
        """How the slot fares from now on."""
        row = self._session.get(SlotRow, (service_uuid, slot)) or SlotRow(service_uuid=service_uuid, slot=slot)
        row.failures, row.retry_at, row.reason = retry.failures, retry.retry_at, retry.reason
        self._session.add(row)
        self._session.flush()

    def clear_slots(self, service_uuid: str) -> None:
        """A new revision, or a stop: what failed before says nothing about what comes."""
        self._session.execute(delete(SlotRow).where(SlotRow.service_uuid == service_uuid))

    def set_status(self, service_uuid: str, generation: int, status: Status) -> None:
        """What users read - unless a newer write came in between, which has told its own."""
        self._session.execute(
            update(ServiceRow)
            .where(ServiceRow.uuid == service_uuid, ServiceRow.generation == generation)
            .values(
                current_status=status.current_status,
                is_deploying=status.is_deploying,
                status_reason=status.reason,
                observed_generation=generation,
            )
        )

    def set_service(self, service_uuid: str, generation: int | None = None, **columns: Any) -> None:
        """Progress columns; with `generation` only if no newer write came in between."""
        query = update(ServiceRow).where(ServiceRow.uuid == service_uuid)
        if generation is not None:
            query = query.where(ServiceRow.generation == generation)
        self._session.execute(query.values(**columns))

    def resolve(self, service_uuid: str, revision: int, image_id: str, image_digest: str | None) -> str | None:
        """Note which image the revision means, once and for all; answer its fingerprint (None: it is gone)."""
        row = self._session.get(RevisionRow, (service_uuid, revision))
        if row is None:
            return None
        if row.image_id is None:
            row.image_id, row.image_digest = image_id, image_digest
            row.fingerprint = fingerprint(row.template_hash, image_id, row.restart)
            row.resolved_at = self._now
            self._session.flush()
        return row.fingerprint

    def move_tag(self, service_uuid: str, revision: int, image_id: str, image_digest: str | None) -> int | None:
        """The tag of the wanted revision names another image now: a new revision of the same template.

        Answer its number, or None when `revision` is not the wanted one any more.
        """
        service = self._session.get(ServiceRow, service_uuid, with_for_update=True)  # a user's write may come now
        row = self._session.get(RevisionRow, (service_uuid, revision))
        if service is None or row is None or service.revision != revision:
            return None
        reason = f"{row.image_ref} moved to {image_id[:19]}"
        return add_revision_like(
            self._session, service, row, self._now, reason, image_id=image_id, image_digest=image_digest
        )

    def roll_back(self, *, service: tuple[str, str], generation: int, action: Rollback) -> None:
        """Want the good revision again, as a new one - unless a newer write came in between."""
        row = self._session.get(ServiceRow, service[0], with_for_update=True)
        good = self._session.get(RevisionRow, (service[0], action.to))
        if row is None or good is None or (row.generation, row.revision) != (generation, action.failed):
            return
        told = f"revision {action.failed} failed and was rolled back to revision {action.to}: {action.reason}"
        row.good_revision = add_revision_like(self._session, row, good, self._now, told)
        row.rollout_failure = told
        self.clear_slots(service[0])
        self.event("rollout_failed", action.reason, service=service, revision=action.failed)
        self.event("rolled_back", told, service=service, revision=row.revision, to=action.to)

    def need_volumes(
        self, service: tuple[str, str], region: str, slot: int, wanted: Mapping[str, Sequence[Any]]
    ) -> None:
        """Rows of the volumes an instance is about to mount: name -> (path, size_gb)."""
        for name, (path, size_gb) in wanted.items():
            row = self._session.get(VolumeRow, name)
            if row is None:
                row = VolumeRow(name=name, service_uuid=service[0], service_name=service[1], region=region)
                row.slot, row.path, row.created_at = slot, path, self._now
                self._session.add(row)
            row.size_gb = size_gb
        self._session.flush()

    def volumes_made(self, facts: Sequence[VolumeFact]) -> None:
        """Whether the engine really keeps each to its size."""
        for fact in facts:
            self._session.execute(update(VolumeRow).where(VolumeRow.name == fact.name).values(enforced=fact.enforced))

    def volumes_used(self, used_bytes: Mapping[str, int]) -> None:
        """What was measured just now."""
        for name, used in used_bytes.items():
            query = update(VolumeRow).where(VolumeRow.name == name)
            self._session.execute(query.values(used_bytes=used, used_at=self._now))

    def keep_given(self, given: Given) -> None:
        """Addresses that an instance about to be made relies on."""
        keep_given(self._session, given)

    def give_up_subnet(self, subnet: str) -> None:
        """Somebody else has it on the engine."""
        give_up_subnet(self._session, subnet)

    def orphan_volumes(self, service_uuid: str) -> None:
        """Their service is deleted and its user did not ask for their removal: kept, and listed for the operator."""
        query = update(VolumeRow).where(VolumeRow.service_uuid == service_uuid, VolumeRow.orphaned_at.is_(None))
        self._session.execute(query.values(orphaned_at=self._now))

    def drop_volume(self, name: str) -> None:
        """The engine has removed it."""
        self._session.execute(delete(VolumeRow).where(VolumeRow.name == name))

    def purge(self, service_uuid: str) -> None:
        """Drop every row of a deleted service but its events and orphaned volumes."""
        living = select(func.count()).where(InstanceRow.service_uuid == service_uuid, InstanceRow.gone_at.is_(None))
        if self._session.scalar(living):
            return
        for table in (InstanceRow, SlotRow, RevisionRow, PortRow):
            self._session.execute(delete(table).where(table.service_uuid == service_uuid))
        self._session.execute(
            delete(ServiceRow).where(ServiceRow.uuid == service_uuid, ServiceRow.deleted_at.is_not(None))
        )


def _observed_columns(instance: Instance) -> dict[str, Any]:
    return {
        "fingerprint": instance.fingerprint,
        "phase": instance.phase.value,
        "health": instance.health.value,
        "container_id": instance.container_id,
        "address": instance.address,
        "ports": [list(port) for port in instance.ports],
        "exit_code": instance.exit_code,
        "oom_killed": instance.oom_killed,
        "ready_at": instance.ready_at,
        "unready": instance.unready,
        "reason": instance.reason,
        "started_at": instance.started_at,
        "finished_at": instance.finished_at,
    }
