"""The words a user reads about a service: derived from desired, observed and the plan, never guessed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.actions import Launch, Plan, Pull, Stop
from orchestrator.planner import target_revision
from orchestrator.state import Desired, Instance, Observed, Phase

PROVED_SECONDS = 15.0  # a crash-looping slot is called so until an instance of it has run this long
CAPACITY = "limited by capacity"  # how the reason begins when the host takes no more
STATUSES = ("Running", "Deploying", "Stopped", "Error", "StartError", "PartialRunning")
_ENDED = {Phase.EXITED, Phase.VANISHED, Phase.GONE}
_COMING = {Phase.PENDING, Phase.CREATED}


@dataclass(frozen=True)
class Status:
    """`current_status` is one of Running, Deploying, Stopped, Error, StartError, PartialRunning (API-CONTRACT 3.3)."""

    current_status: str
    is_deploying: bool
    reason: str


def status(desired: Desired, observed: Observed, plan: Plan, now: datetime) -> Status:
    """How the service fares.

    Something is wrong when a pull or a slot failed and waits for its next try; then nothing running is
    StartError, some of it PartialRunning, all of it Running with the reason (an update that can't be fetched).
    """
    if not observed.reachable:
        return Status("Error", False, observed.trouble)
    living = [i for i in observed.instances if i.phase not in _ENDED]
    if not desired.started:
        if living:
            return Status("Deploying", True, f"stopping {_count(len(living), 'instance')}")
        return Status("Stopped", False, "deleted" if desired.deleted else "stopped by its target_state")
    trouble = _trouble(desired, observed, now)
    ready, wanted = _ready(desired, living), desired.count
    if trouble:
        return Status(_word(ready, wanted), False, trouble)
    if _converged(desired, living, plan) and ready == wanted:
        if desired.recheck_image:  # it serves, but the deploy is not over: the tag may have moved
            return Status("Running", True, f"looking whether {desired.revision.image_ref} moved")
        asleep = "asleep: wakes on the first request" if desired.may_sleep and not wanted else ""
        said = asleep or f"{ready} of {_count(wanted, 'instance')} running"
        return Status("Running", False, desired.rollout_failure or said)
    return Status("Deploying", True, _progress(desired, living, plan, ready))


def limited(desired: Desired, observed: Observed, reason: str) -> Status:
    """The status of a service that the host has no room for, or not for all of it."""
    ready = _ready(desired, [i for i in observed.instances if i.phase not in _ENDED])
    return Status(_word(ready, desired.count), False, reason)


def with_route_fault(now_status: Status, fault: str) -> Status:
    """The status with what its routes lack; its instances fare as they do."""
    return replace(now_status, reason=f"{now_status.reason}; {fault}") if fault else now_status


def when_reached(now_status: Status, instances: Iterable[Instance], reached: Collection[str] | None) -> Status:
    """Running only when the proxy has been told of every ready instance: who reads it may ask at once, and is answered.

    `reached`: uuids of those it was told of, None: not known. Routing takes a moment, in which a fresh service has
    ready instances and refuses requests.
    """
    if reached is None or now_status.current_status != "Running" or now_status.is_deploying:
        return now_status
    waiting = [i for i in instances if i.ready and i.address and i.uuid not in reached]
    if not waiting:
        return now_status
    return Status("Deploying", True, f"{_count(len(waiting), 'ready instance')} about to get requests")


def _word(ready: int, wanted: int) -> str:
    return "StartError" if ready == 0 and wanted else "PartialRunning" if ready < wanted else "Running"


def _trouble(desired: Desired, observed: Observed, now: datetime) -> str:
    """Why the service can't be as wanted just now, or ""."""
    if desired.pull.failures:
        return f"image can't be pulled: {desired.pull.reason} ({_count(desired.pull.failures, 'failure')} in a row)"
    # a second death in a row is a loop; the first is healed at once and is no trouble, unlike a launch that must wait
    waits = {n for n, r in observed.slots.items() if r.failures and r.retry_at and r.retry_at > now}
    failing = {n: r for n, r in observed.slots.items() if n < desired.count and (r.failures > 1 or n in waits)}
    bad = {n: r for n, r in failing.items() if not _proved(observed, n, now)}
    if bad:
        number, retry = min(bad.items())
        return f"slot {number} failed {_count(retry.failures, 'time')} in a row, restarts back off: {retry.reason}"
    return ""


def _proved(observed: Observed, slot: int, now: datetime) -> bool:
    """Whether the slot's newest instance has lived long enough not to count as the next turn of a crash loop."""
    return any(
        i.slot == slot and i.ready and i.started_at and now - i.started_at >= timedelta(seconds=PROVED_SECONDS)
        for i in observed.instances
    )


def _ready(desired: Desired, living: list[Instance]) -> int:
    """Slots with a ready instance, of whatever revision."""
    return len({i.slot for i in living if i.ready and i.slot < desired.count})


def _converged(desired: Desired, living: list[Instance], plan: Plan) -> bool:
    revision = target_revision(desired)
    wanted = revision.fingerprint if revision else None
    strangers = [i for i in living if i.fingerprint != wanted or i.slot >= desired.count]
    moves = [a for a in plan.actions if isinstance(a, Launch | Stop)]
    return desired.revision.image_id is not None and not strangers and not moves


def _progress(desired: Desired, living: list[Instance], plan: Plan, ready: int) -> str:
    if any(isinstance(a, Pull) for a in plan.actions) or desired.revision.image_id is None:
        return f"pulling {desired.revision.image_ref}"
    revision = target_revision(desired)
    old = sum(1 for i in living if revision and i.fingerprint != revision.fingerprint)
    text = f"{ready} of {_count(desired.count, 'instance')} ready"
    unready = next((i.unready for i in living if i.phase is Phase.RUNNING and i.unready), "")
    text = f"{text}, {old} still of an older revision" if old else text
    return f"{text}: {unready}" if unready else text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
