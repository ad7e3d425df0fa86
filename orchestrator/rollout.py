"""How a service moves from one revision to the next: which slots may change now. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from orchestrator.state import Instance

SETTLE_SECONDS = 2.0  # a new instance must run this long before it counts on: one that crashes at start never does


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
    return instance.started_at + timedelta(seconds=SETTLE_SECONDS)


def is_settled(instance: Instance | None, now: datetime) -> bool:
    """Ready, and long enough."""
    at = settled_at(instance) if instance else None
    return at is not None and at <= now


def slots_to_replace(slots: Mapping[int, Slot], stateful: bool, now: datetime) -> Collection[int]:
    """The slots whose outdated instances may be replaced in this step, lowest first.

    Stateless (start-first): a slot that has begun - an unsettled new instance beside the old - takes up one
    place of the surge until the new one is settled. Worked example, 4 instances, surge 1: slot 0 gets a new
    instance; slots 1-3 wait until it has run two seconds, then its old one stops and slot 1 begins.
    Stateful (stop-first): one slot at a time, and only while every other slot's instance is settled.
    """
    waiting = [s.number for s in slots.values() if s.outdated and s.current is None]
    begun = [s.number for s in slots.values() if s.outdated and s.current and not is_settled(s.current, now)]
    if not stateful:
        return sorted(waiting)[: max(0, surge(len(slots)) - len(begun))]
    emptied = [s.number for s in slots.values() if not s.outdated and not is_settled(s.current, now)]
    return [] if begun or emptied else sorted(waiting)[:1]
