"""Containers of ours that no living row knows: taken in again, or ended. Nothing of others is ever looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
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
    """Compares what the engines show with the living rows."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock

    def adopt(
        self,
        reads: PassReads,
        services: list[Loaded],
        sights: dict[str, Sight],
        region_engines: dict[str, str],
        busy: frozenset[str],
    ) -> tuple[list[Loaded], dict[str, list[Write]]]:
        """The services with what was found of them, and the rows of that by service uuid.

        A container whose row was never there (the database was restored from an older copy) is taken in again, before
        the service is planned for: else its slot would get a second instance, on the same volume.
        """
        by_uuid = {loaded.uuid: loaded for loaded in services if not loaded.desired.deleted}
        known = {i.uuid for loaded in services for i in loaded.observed.instances} | busy
        found: dict[str, list[Instance]] = defaultdict(list)
        writes: dict[str, list[Write]] = defaultdict(list)
        for url, sight in sights.items():
            for instance_uuid, fact in sight.facts.items():
                owner = by_uuid.get(fact.labels.get(LABEL_SERVICE, ""))
                if owner is None or instance_uuid in known or fact.state == "removing":
                    continue
                if region_engines.get(owner.region) == url and not reads.was_known(instance_uuid):
                    instance, write = self._adoption(reads, owner, instance_uuid, fact)
                    found[owner.uuid].append(instance)
                    writes[owner.uuid].append(write)
        return [_with(loaded, found[loaded.uuid]) if loaded.uuid in found else loaded for loaded in services], writes

    def endings(
        self, reads: PassReads, services: list[Loaded], sights: dict[str, Sight], busy: frozenset[str]
    ) -> list[Job]:
        """Jobs that end containers whose row was closed, or whose service is gone. `services`: all that there are.

        What belongs to a service that can't be read is left alone.
        """
        unreadable = {service.uuid for service in reads.unreadable}
        known = {i.uuid for loaded in services for i in loaded.observed.instances} | busy
        return [
            self._ending(instance_uuid, fact, sight)
            for sight in sights.values()
            for instance_uuid, fact in sight.facts.items()
            if instance_uuid not in known
            and fact.state != "removing"
            and fact.labels.get(LABEL_SERVICE) not in unreadable
        ]

    def _adoption(
        self, reads: PassReads, owner: Loaded, instance_uuid: str, fact: ContainerFact
    ) -> tuple[Instance, Write]:
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
            writes.event("instance_adopted", "found without a row", service=service, instance=instance_uuid)

        return instance, write

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


def _with(loaded: Loaded, instances: list[Instance]) -> Loaded:
    observed = replace(loaded.observed, instances=(*loaded.observed.instances, *instances))
    return replace(loaded, observed=observed)


def _slot(fact: ContainerFact) -> int:
    text = fact.labels.get(LABEL_SLOT, "")
    return int(text) if text.isdigit() else 0
