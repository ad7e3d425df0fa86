"""Containers of ours that no living row knows: taken in again, or ended. Nothing of others is ever looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from orchestrator.actions import Stop
from orchestrator.decision import Write
from orchestrator.engine.base import (
    LABEL_REVISION,
    LABEL_SERVICE,
    LABEL_SERVICE_NAME,
    LABEL_SLOT,
    ContainerFact,
)
from orchestrator.jobs import Job
from orchestrator.settings import Settings
from orchestrator.sight import Sight
from orchestrator.state import Instance, Phase
from orchestrator.store.pass_writes import PassWrites
from orchestrator.store.passes import Loaded, PassReads


class StrayFinder:
    """Compares what the engines show with all living rows; needs a full pass."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock

    def find(
        self,
        reads: PassReads,
        services: list[Loaded],
        sights: dict[str, Sight],
        region_engines: dict[str, str],
        busy: frozenset[str],
    ) -> tuple[list[Write], list[Job]]:
        """A container of ours that no living row knows.

        One whose row was never there (the database was restored from an older copy) is taken in again if its
        service stands; one whose row was closed, or whose service is gone, is ended. What belongs to a service that
        can't be read is left alone.
        """
        unreadable = {service.uuid for service in reads.unreadable}
        known = {i.uuid for loaded in services for i in loaded.observed.instances} | busy
        by_uuid = {loaded.uuid: loaded for loaded in services}
        writes: list[Write] = []
        jobs: list[Job] = []
        for url, sight in sights.items():
            for instance_uuid, fact in sight.facts.items():
                if instance_uuid in known or fact.state == "removing":
                    continue
                if fact.labels.get(LABEL_SERVICE) in unreadable:
                    continue
                owner = by_uuid.get(fact.labels.get(LABEL_SERVICE, ""))
                here = owner is not None and region_engines.get(owner.region) == url
                if owner is not None and here and not owner.desired.deleted and not reads.was_known(instance_uuid):
                    writes.append(self._adoption(reads, owner, instance_uuid, fact))
                else:
                    jobs.append(self._ending(instance_uuid, fact, sight))
        return writes, jobs

    def _adoption(self, reads: PassReads, owner: Loaded, instance_uuid: str, fact: ContainerFact) -> Write:
        fingerprint = fact.labels.get(LABEL_REVISION, "")
        number = reads.revision_numbers(owner.uuid).get(fingerprint, 0)
        instance = Instance(
            uuid=instance_uuid,
            slot=_slot(fact),
            fingerprint=fingerprint,
            phase=Phase.PENDING,
            container_id=fact.id,
            created_at=self._clock(),
        )

        def write(writes: PassWrites) -> None:
            writes.add_instance(owner.uuid, number, instance)
            service = (owner.uuid, owner.full_name)
            writes.event("instance_adopted", "found running without a row", service=service, instance=instance_uuid)

        return write

    def _ending(self, instance_uuid: str, fact: ContainerFact, sight: Sight) -> Job:
        reason = "stray: no declared service has this instance"
        return Job(
            key=instance_uuid,
            service_uuid=fact.labels.get(LABEL_SERVICE, ""),
            service_name=fact.labels.get(LABEL_SERVICE_NAME, "?/?"),
            generation=0,
            action=Stop(instance_uuid, _slot(fact), reason),
            engine=sight.engine,
            instance_uuid=instance_uuid,
            container_id=fact.id,
            grace_seconds=self._settings.stop_grace_seconds,
        )


def _slot(fact: ContainerFact) -> int:
    text = fact.labels.get(LABEL_SLOT, "")
    return int(text) if text.isdigit() else 0
