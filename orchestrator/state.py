"""What is desired and what is observed of one service, as values. Everything the planner may know is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Phase(StrEnum):
    """Where an instance is in its life. It only moves forward; a replacement is a new instance."""

    PENDING = "pending"  # the row exists, no container of it was seen yet
    CREATED = "created"  # the container exists and was never started
    RUNNING = "running"
    STOPPING = "stopping"  # we asked it to end
    EXITED = "exited"  # it ended by itself; the container is still there
    VANISHED = "vanished"  # somebody else removed the container
    PAUSED = "paused"
    REMOVING = "removing"  # the engine is removing it
    GONE = "gone"  # removed; the row stays for history and logs


class Health(StrEnum):
    """What the image's own HEALTHCHECK says; NONE where it has none."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class Revision:
    """One version of what an instance of a service is made from.

    `image_id` (sha256:...) is None until the tag was resolved by a pull; `fingerprint` is the 12 hex digits that
    stand on the label `skylark.revision` of every instance, None as long as the image is not resolved.
    """

    number: int
    image_ref: str
    image_id: str | None = None
    image_digest: str | None = None  # name@sha256:..., to fetch the very same image again
    fingerprint: str | None = None


@dataclass(frozen=True)
class Retry:
    """How often something failed in a row, and when it may be tried again (None: now)."""

    failures: int = 0
    retry_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class Desired:
    """What the user wants of one service, and how far its deploy has come."""

    service_uuid: str
    name: str
    namespace: str
    generation: int
    started: bool  # target_state STARTED and not being deleted
    deleted: bool
    count: int  # number of instances wanted while started
    stateful: bool  # has volumes: replaced stop-first, slot by slot
    revision: Revision
    fallback: Revision | None = None  # the last good revision, else the newest known one: serves until this one can
    good: Revision | None = None  # the way back: the last revision that ran as a whole, if it is another one
    good_proven: bool = True  # else it is only the newest known one before, good as far as instances of it are ready
    resolved_at: datetime | None = None  # when the wanted revision's image was known
    progress_deadline_seconds: float = 60.0  # a rollout that gets nowhere for so long has failed
    rollout_failure: str = ""  # why the last rollout went back
    recheck_image: bool = False  # a deploy named the tag again: look whether it moved
    may_sleep: bool = False  # no instance is wanted until a request comes, when the count is 0
    image_missing: bool = False  # the engine lost the resolved image: fetch it again by digest
    pull: Retry = field(default_factory=Retry)


@dataclass(frozen=True)
class Instance:
    """One container's worth of a service, as last observed. `busy`: an action on it is under way."""

    uuid: str
    slot: int
    fingerprint: str
    phase: Phase
    health: Health = Health.NONE
    container_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    ready_at: datetime | None = None
    unready: str = ""  # why its probe does not call it ready
    reason: str = ""
    address: str = ""  # on its first network
    ports: tuple[tuple[int, str, int], ...] = ()  # (container_port, protocol, host_port), published ones
    busy: bool = False

    @property
    def ready(self) -> bool:
        """May get traffic: running, well by its own health check if it has one, else answering its probe."""
        return self.phase is Phase.RUNNING and self.health in (Health.NONE, Health.HEALTHY) and not self.unready


@dataclass(frozen=True)
class Observed:
    """What is there of one service: its living instances, and how each slot fared before."""

    instances: tuple[Instance, ...] = ()
    slots: Mapping[int, Retry] = field(default_factory=dict)
    pulling: bool = False
    volumes_left: bool = False  # a deleted service still has volumes to release
    reachable: bool = True  # the engine answered the last list
    trouble: str = ""  # what the engine said when it did not
