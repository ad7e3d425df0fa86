"""An evaluation as it is kept and shown, and what of it is worth an event. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestrator.autoscaler import InstancePoints, Policy, Recommendation, Rule, Samples, ScaleState

Kept = dict[str, Any]  # an evaluation as JSON
SHOWN_POINTS = 12  # of each instance, the newest
LEAST_QUIET_SECONDS = 60.0
_LIMITED = (Rule.LIMITED, Rule.CAPACITY)


@dataclass(frozen=True)
class Told:
    """An event: its kind, its words, its numbers."""

    kind: str
    reason: str
    data: Mapping[str, Any]


def is_taken(found: Recommendation, current: int, *, dry_run: bool) -> bool:
    """Whether the step is done. In a dry run none is, but waking: a request waits, and nobody else would answer it."""
    return found.target != current and (not dry_run or found.rule is Rule.WAKE)


def keep(samples: Samples, state: ScaleState, found: Recommendation, *, dry_run: bool, now: datetime) -> Kept:
    """The evaluation as JSON; `target` is where the service is to go, in a dry run where it would."""
    moves = found.target != state.current
    return {
        "at": now.isoformat(),
        "dry_run": dry_run,
        "current": state.current,
        "target": found.target,
        "action": {"before": state.current, "after": found.target} if moves else None,
        "rule": found.rule.value,
        "reason": found.reason,
        "value": None if found.value is None else round(found.value, 6),
        "wait_seconds": round(found.wait_seconds, 3),
        "limited": found.rule in _LIMITED,
        "held_back": found.held_back,
        "unsettled": state.unsettled,
        "demand_at": samples.demand_at.isoformat() if samples.demand_at else None,
        "samples": [_sample(instance) for instance in samples.instances],
        "told": {},
    }


def _sample(instance: InstancePoints) -> Kept:
    newest = instance.points[-SHOWN_POINTS:]
    return {
        "uuid": instance.instance_uuid,
        "ready": instance.ready_at is not None,
        "ready_at": instance.ready_at.isoformat() if instance.ready_at else None,
        "points": [[point.at.isoformat(), round(point.value, 6)] for point in newest],
    }


def numbers(policy: Policy, state: ScaleState, found: Recommendation) -> dict[str, Any]:
    """What stands in the data of the autoscaler's events."""
    return {
        "before": state.current,
        "after": found.target,
        "rule": found.rule.value,
        "metric": policy.metric,
        "statistic": policy.statistic,
        "value": None if found.value is None else round(found.value, 6),
        "lower": policy.lower,
        "upper": policy.upper,
        "minimum": policy.minimum,
        "maximum": policy.maximum,
        "window_seconds": policy.window_seconds,
        "wait_seconds": round(found.wait_seconds, 3),
    }


def tell(
    policy: Policy,
    state: ScaleState,
    found: Recommendation,
    before: Mapping[str, str],
    *,
    dry_run: bool,
    now: datetime,
) -> tuple[Told | None, dict[str, str]]:
    """The event of this evaluation, if it is worth one, and what was told until now with when it was last so.

    A change is always told. A step held back, or one only thought of in a dry run, is told once, and again only
    after it has not been so for a while (the wait period, the window, at least a minute): a value that swings around
    a threshold at the bound says "limited" once, not each time it comes back.
    """
    data = numbers(policy, state, found)
    if is_taken(found, state.current, dry_run=dry_run):
        return Told("autoscaled", found.reason, data), {}
    quiet = timedelta(seconds=max(policy.wait_seconds, policy.window_seconds, LEAST_QUIET_SECONDS))
    told = {key: at for key, at in before.items() if now - quiet <= datetime.fromisoformat(at) <= now + quiet}
    event = None
    if found.target != state.current:
        key = f"{found.rule.value} {state.current} {found.target}"
        event = Told("autoscaling_dry_run", f"dry run, nothing was done: {found.reason}", data)
    elif found.held_back:
        key = f"{found.rule.value} {re.sub(r'[0-9]+([.][0-9]+)?', '#', found.reason)}"
        event = Told("autoscaling_held", found.reason, data)
    else:
        return None, told
    known, told[key] = key in told, now.isoformat()
    return (None if known else event), told
