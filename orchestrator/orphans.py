"""Volumes whose service is gone: removed when an operator asks for it, never by clean-up."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.actions import ReleaseVolumes
from orchestrator.jobs import Job
from orchestrator.sight import Sight
from orchestrator.store.records import VolumeRecord


def removal_jobs(
    volumes: Sequence[VolumeRecord], sights: dict[str, Sight], region_engines: dict[str, str]
) -> list[Job]:
    """A job for each of these orphans that an operator asked to remove, as far as its engine answers."""
    jobs = []
    for row in volumes:
        sight = sights.get(region_engines.get(row.region, ""))
        if sight is None or sight.trouble:
            continue
        jobs.append(
            Job(
                key=f"volume:{row.name}",
                service_uuid=row.service_uuid,
                service_name=row.service_name,
                generation=0,
                action=ReleaseVolumes("an operator asked for its removal"),
                engine=sight.engine,
                volume_names=(row.name,),
            )
        )
    return jobs
