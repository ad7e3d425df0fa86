"""What can be done to the world, as data. Each action carries its reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Pull:
    """Fetch `image_ref` and learn which image it names now."""

    image_ref: str
    reason: str


@dataclass(frozen=True)
class Launch:
    """A new instance of revision `revision` in `slot`: its row first, then volumes, create and start."""

    slot: int
    revision: int
    reason: str


@dataclass(frozen=True)
class Resume:
    """Go on with an instance whose launch was cut off: create it if needed, and start it."""

    instance_uuid: str
    slot: int
    reason: str


@dataclass(frozen=True)
class Stop:
    """SIGTERM, the grace period, SIGKILL; then collect the log and remove the container.

    `failed`: it is ended because it does not do its work, which counts against its slot like a death.
    """

    instance_uuid: str
    slot: int
    reason: str
    failed: bool = False


@dataclass(frozen=True)
class Remove:
    """Collect the log of a dead container to its end, and remove it."""

    instance_uuid: str
    slot: int
    reason: str


@dataclass(frozen=True)
class Forget:
    """Close the row of an instance that has no container (any more)."""

    instance_uuid: str
    slot: int
    reason: str


@dataclass(frozen=True)
class Rollback:
    """The rollout of revision `failed` has failed: a new revision, equal to the last good one `to`, takes its place."""

    failed: int
    to: int
    reason: str


@dataclass(frozen=True)
class ReleaseVolumes:
    """A deleted service's volumes: removed if its user asked so, else kept and listed as orphans."""

    reason: str


@dataclass(frozen=True)
class Purge:
    """Nothing is left of a deleted service: drop its rows and log lines."""

    reason: str


Action = Pull | Launch | Resume | Stop | Remove | Forget | Rollback | ReleaseVolumes | Purge


@dataclass(frozen=True)
class Plan:
    """The next bounded step for one service. An empty one means converged, or waiting until `wake_at`."""

    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    waiting: tuple[str, ...] = ()  # why nothing (more) is done now, in words
