"""An action made ready to be done: all values it needs, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator.actions import Action
from orchestrator.engine.base import (
    ContainerConfig,
    ContainerDetail,
    Engine,
    NetworkConfig,
    RegistryAuth,
    ResolvedImage,
    VolumeConfig,
    VolumeFact,
)
from orchestrator.engine.errors import EngineError


@dataclass(frozen=True)
class Job:
    """One action on one engine. `key` names what is busy while it runs: an instance uuid or a `pull_key`."""

    key: str
    service_uuid: str
    service_name: str  # namespace/name
    generation: int
    action: Action
    engine: Engine
    instance_uuid: str | None = None
    container_id: str | None = None
    revision: int = 0
    image_ref: str = ""
    auth: RegistryAuth | None = None
    config: ContainerConfig | None = None
    network: NetworkConfig | None = None
    volumes: tuple[VolumeConfig, ...] = ()
    volume_names: tuple[str, ...] = ()
    grace_seconds: int = 10
    probed: bool = False  # its instance is ready when its probe says so, not before
    routed: bool = False  # traffic reaches it through the proxy, which must let go first

    @property
    def verb(self) -> str:
        """The action's name as logs and plans show it: pull, launch, stop, ..."""
        return type(self.action).__name__.lower()


@dataclass(frozen=True)
class Outcome:
    """What came of a job; `error` is None when it was done. `revoked`: the lease was lost, nothing (more) was done."""

    job: Job
    at: datetime
    seconds: float
    error: EngineError | None = None
    revoked: bool = False
    container_id: str | None = None
    detail: ContainerDetail | None = None
    image: ResolvedImage | None = None
    volumes: tuple[VolumeFact, ...] = ()

    def log_fields(self) -> Mapping[str, Any]:
        """The fields of the action's one log line."""
        job = self.job
        failed = f"{self.error.fault}: {self.error.message}" if self.error else ""
        return {
            "service": job.service_name,
            "instance": f"{job.service_name.partition('/')[2]}.{slot}" if (slot := _slot(job)) is not None else "-",
            "instance_uuid": job.instance_uuid or "-",
            "action": job.verb,
            "reason": job.action.reason,
            "seconds": round(self.seconds, 3),
            "outcome": "revoked" if self.revoked else failed or "ok",
        }


def pull_key(service_uuid: str, image_ref: str) -> str:
    """One pull of each reference at a time: a corrected tag need not wait for a hanging pull of the wrong one."""
    return f"pull:{service_uuid}:{image_ref}"


@dataclass
class Progress:
    """What a job has come to so far; filled step by step, so that a failure keeps what was done before it."""

    container_id: str | None = None
    detail: ContainerDetail | None = None
    image: ResolvedImage | None = None
    volumes: list[VolumeFact] = field(default_factory=list)


def _slot(job: Job) -> int | None:
    return getattr(job.action, "slot", None)
