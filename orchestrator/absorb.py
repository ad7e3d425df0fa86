"""From what the engine shows to the instances we know: phases, deaths, ports, addresses. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator.engine.base import ContainerFact
from orchestrator.state import Health, Instance, Phase

_BY_STATE = {
    "created": Phase.CREATED,
    "running": Phase.RUNNING,
    "restarting": Phase.RUNNING,
    "paused": Phase.PAUSED,
    "removing": Phase.REMOVING,
    "exited": Phase.EXITED,
    "dead": Phase.EXITED,
}
_BY_SOMEBODY = "its container was removed by somebody else"
_WENT_BY_ITSELF = {Phase.PENDING, Phase.CREATED, Phase.RUNNING, Phase.PAUSED}


def absorb(instance: Instance, fact: ContainerFact | None, now: datetime) -> Instance:
    """The instance as it is now, given its container in the list (None: not there).

    An instance that we are stopping and that has ended is EXITED with our own reason; one that nobody asked
    to end keeps what the engine tells: "exit code 3".
    """
    if fact is None:
        return _without_container(instance, now)
    phase = _BY_STATE.get(fact.state, instance.phase)
    if instance.phase is Phase.STOPPING and phase in (Phase.RUNNING, Phase.PAUSED, Phase.CREATED):
        phase = Phase.STOPPING  # the order stands until it is carried out
    seen = replace(
        instance,
        phase=phase,
        container_id=fact.id,
        health=Health(fact.health) if phase is Phase.RUNNING else instance.health,
        address=fact.address if phase is Phase.RUNNING else instance.address,
        ports=fact.ports if phase is Phase.RUNNING else instance.ports,
    )
    if phase is Phase.RUNNING and instance.started_at is None:
        seen = replace(seen, started_at=now)
    if phase is Phase.EXITED and instance.phase is not Phase.EXITED:
        reason = instance.reason if instance.phase is Phase.STOPPING else _ending(fact.exit_code)
        seen = replace(seen, exit_code=fact.exit_code, finished_at=now, reason=reason)
    if phase is Phase.REMOVING and instance.phase in _WENT_BY_ITSELF:
        seen = replace(seen, finished_at=now, reason=_BY_SOMEBODY)
    return seen


def _ending(exit_code: int | None) -> str:
    """The exit code, in words where shells and init programs have agreed on a meaning."""
    meaning = {126: ": command can't be executed", 127: ": command not found"}.get(exit_code or 0, "")
    return f"exit code {exit_code}{meaning}"


def _without_container(instance: Instance, now: datetime) -> Instance:
    if instance.phase in (Phase.PENDING, Phase.VANISHED, Phase.GONE):
        return instance  # not made yet, or told already
    asked = instance.phase in (Phase.STOPPING, Phase.REMOVING, Phase.EXITED)
    reason = instance.reason if asked else _BY_SOMEBODY
    return replace(
        instance, phase=Phase.VANISHED, reason=reason, finished_at=instance.finished_at or now, container_id=None
    )


def died(before: Instance, after: Instance) -> bool:
    """Whether the instance ended between the two looks without our asking."""
    return before.phase in _WENT_BY_ITSELF and after.phase in (Phase.EXITED, Phase.VANISHED, Phase.REMOVING)


def ran_seconds(instance: Instance, now: datetime) -> float:
    """How long an ended instance had run."""
    if instance.started_at is None:
        return 0.0
    return max(0.0, ((instance.finished_at or now) - instance.started_at).total_seconds())
