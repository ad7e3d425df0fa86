"""How a service moves from one revision to the next: which slots may change now. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from orchestrator.state import Desired, Instance, Observed, Phase

SETTLE_SECONDS = 2.0  # a new instance must run this long before it counts on: one that crashes at start never does


PROGRESS_DEADLINE_SECONDS = 60.0
FAILURES = 3  # deaths in a row of one slot that end a rollout
_GOING = (Phase.STOPPING, Phase.REMOVING, Phase.EXITED, Phase.VANISHED, Phase.GONE)


@dataclass(frozen=True)
class Slot:
    """What lives in one slot: the instance of the wanted revision, if any, and those of others."""

    number: int
    current: Instance | None
    outdated: tuple[Instance, ...]

    @property
    def moving(self) -> bool:
        """Between two revisions, or without any instance."""
        return bool(self.outdated) or self.current is None


def surge(count: int) -> int:
    """How many slots may be between two revisions at once: a quarter, at least one (4 -> 1, 5 -> 2, 10 -> 3)."""
    return max(1, ceil(count / 4))


def settled_at(instance: Instance) -> datetime | None:
    """When a ready instance counts as good; None while it is not ready."""
    if not instance.ready or instance.started_at is None:
        return None
    return max(instance.started_at, instance.ready_at or instance.started_at) + timedelta(seconds=SETTLE_SECONDS)


def is_settled(instance: Instance | None, now: datetime) -> bool:
    """Ready, and long enough."""
    at = settled_at(instance) if instance else None
    return at is not None and at <= now


def slots_to_replace(slots: Mapping[int, Slot], stateful: bool, now: datetime) -> Collection[int]:
    """The slots whose outdated instances may be replaced in this step, lowest first.

    Stateless (start-first): a slot whose new instance is not settled takes up one place of the surge, beside an old
    one or alone: what was good and is unready now must stop the rollout before it has replaced everything. Worked
    example, 4 instances, surge 1: slot 0 gets a new instance; slots 1-3 wait until it has run two seconds, then its
    old one stops and slot 1 begins; should slot 0 become unready now, slot 2 never begins.
    Stateful (stop-first): one slot at a time, and only while every other slot's instance is settled.
    """
    waiting = [s.number for s in slots.values() if s.outdated and s.current is None]
    unsettled = [s.number for s in slots.values() if s.current and not is_settled(s.current, now)]
    if not stateful:
        return sorted(waiting)[: max(0, surge(len(slots)) - len(unsettled))]
    emptied = [s.number for s in slots.values() if not s.outdated and s.current is None]
    return [] if unsettled or emptied else sorted(waiting)[:1]


def is_complete(desired: Desired, observed: Observed, now: datetime) -> bool:
    """Whether every wanted slot has a good instance of the wanted revision."""
    fingerprint = desired.revision.fingerprint
    mine = (i for i in observed.instances if i.fingerprint == fingerprint and i.slot < desired.count)
    done = {i.slot for i in mine if is_settled(i, now)}
    return fingerprint is not None and 0 < desired.count <= len(done)


def rollout_failure(desired: Desired, observed: Observed, now: datetime) -> tuple[str, datetime | None]:
    """Why the rollout of the wanted revision has failed ("" while it has not), and when to look again.

    It fails when a slot of it dies `FAILURES` times in a row, or when no further instance of it became ready for
    the progress deadline. Without a good revision to go back to it never fails: there is nothing better to run.
    Worked example, 3 instances, deadline 60 s: resolved at 0 s, slot 0 ready at 5 s, slot 1 never: failed at 65 s.
    A service that sleeps is given a new image at 0 s and woken at 600 s: its first instance has until 660 s.
    """
    wanted, good = desired.revision, desired.good
    if wanted.image_id is None or good is None or good.fingerprint == wanted.fingerprint:
        return "", None
    if not desired.good_proven and not any(i.ready and i.fingerprint == good.fingerprint for i in observed.instances):
        return "", None
    mine = [i for i in observed.instances if i.fingerprint == wanted.fingerprint and i.slot < desired.count]
    done = {i.slot for i in mine if is_settled(i, now)}
    if len(done) >= desired.count:
        return "", None
    looping = {n: r for n, r in observed.slots.items() if r.failures >= FAILURES and n not in done}
    if looping:
        slot, retry = min(looping.items())
        return f"slot {slot} failed {retry.failures} times in a row: {retry.reason}", None
    began = _began_at(desired, observed, now)
    if began is None:
        return "", None
    progress = [at for i in mine if i.ready and (at := i.ready_at or i.started_at)]
    deadline = max([began, *progress]) + timedelta(seconds=desired.progress_deadline_seconds)
    if now < deadline:
        return "", deadline
    stuck = [i.unready for i in mine if i.unready] or [r.reason for r in observed.slots.values() if r.failures]
    why = f": {stuck[0]}" if stuck else ""
    return f"no progress in {desired.progress_deadline_seconds:.0f} s{why}", None


def _began_at(desired: Desired, observed: Observed, now: datetime) -> datetime | None:
    """When the progress deadline began to run: with the image. None: not yet.

    Where nothing is replaced (it slept, it had no instances), nothing was tried until an instance was made.
    """
    fingerprint = desired.revision.fingerprint
    if any(i.fingerprint != fingerprint and i.phase not in _GOING for i in observed.instances):
        return desired.resolved_at or now
    made = [at for i in observed.instances if i.fingerprint == fingerprint and (at := i.created_at or i.started_at)]
    return max(min(made), desired.resolved_at or min(made)) if made else None
