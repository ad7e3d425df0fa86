"""The autoscaler: from a policy and what was measured to how many instances there should be, and why. Pure."""

from __future__ import annotations

from datetime import datetime

from orchestrator.autoscaler_steps import Verdict, judge, up
from orchestrator.autoscaler_values import (
    InstancePoints,
    Point,
    Policy,
    Recommendation,
    Rule,
    Samples,
    ScaleState,
    past,
)

__all__ = [
    "InstancePoints",
    "Point",
    "Policy",
    "Recommendation",
    "Rule",
    "Samples",
    "ScaleState",
    "past",
    "recommend",
]


def recommend(policy: Policy, samples: Samples, state: ScaleState, now: datetime) -> Recommendation:
    """The target for a service, with the rule and the numbers that led to it.

    In this order: the bounds, waking and what the host refuses, which wait for nothing (an operator's bound wins over a
    rollout, and moving the count replaces no instance); then what the metric or the lack of requests asks for, if the
    service is settled and the wait period is over.

    Example: CPU_UTILIZATION MEAN, thresholds 0.2 and 0.6, delta 1, 1 to 5 instances, wait 30 s; 2 instances at 0.9 and
    0.76 for the whole window, the last action 40 s ago -> target 3, rule SCALE_UP,
    "CPU_UTILIZATION MEAN 0.83 over 30 s is above 0.6: 2 -> 3".
    """
    wait = _wait_seconds(policy, state, now)
    at_once = _bounds(policy, state) or _asleep(policy, samples, state) or _refused(policy, state)
    if at_once:
        return _told(at_once, state, wait)
    verdict = _sleep(policy, samples, state, now) or judge(policy, samples, state, now)
    if state.unsettled:
        return _postponed(Rule.NOT_SETTLED, f"the service is not settled ({state.unsettled})", verdict, state, wait)
    if wait > 0:
        return _postponed(Rule.WAITING, f"the wait period has {wait:.0f} s left", verdict, state, wait)
    return _told(verdict, state, wait)


def _wait_seconds(policy: Policy, state: ScaleState, now: datetime) -> float:
    """Left of the wait period, which runs from the last action's end; never more than all of it."""
    if state.acted_at is None:
        return 0.0
    return max(0.0, policy.wait_seconds - (now - past(state.acted_at, now)).total_seconds())


def _bounds(policy: Policy, state: ScaleState) -> Verdict | None:
    """A count outside the bounds goes to the nearer one in one step, without metrics."""
    if state.current > policy.maximum:
        why = f"{state.current} is above the maximum of {policy.maximum}"
        return Verdict(Rule.ABOVE_MAXIMUM, policy.maximum, why)
    if state.current < policy.minimum:
        why = f"{state.current} is below the minimum of {policy.minimum}"
        return _to(Rule.BELOW_MINIMUM, policy.minimum, why, policy, state)
    return None


def _asleep(policy: Policy, samples: Samples, state: ScaleState) -> Verdict | None:
    """A service without instances (which is within its bounds) has no metric: it wakes for a request, or sleeps on."""
    if state.current > 0:
        return None
    if not samples.waking:
        return Verdict(Rule.STEADY, 0, "asleep until a request comes")
    return _to(Rule.WAKE, max(1, policy.minimum), "a request waits", policy, state)


def _refused(policy: Policy, state: ScaleState) -> Verdict | None:
    """A target that the host does not take is given up: the service would never be settled, nor scaled down again.

    5 wanted, 4 there, no room for the fifth, minimum 2: 4. One stays wanted: somebody may wait for it.
    """
    target = max(policy.minimum, 1, state.current - state.refused)
    if target >= state.current:
        return None
    limit = state.room_reason or "the host is full"
    return Verdict(Rule.CAPACITY, target, f"limited by capacity: {limit}, {state.refused} of {state.current} not taken")


def _to(rule: Rule, target: int, why: str, policy: Policy, state: ScaleState) -> Verdict:
    """Up to `target` in one step, as far as maximum and host let it."""
    verdict = up(policy, state, why, wanted=target - state.current)
    return Verdict(rule, target, why) if verdict.rule is Rule.SCALE_UP and verdict.target == target else verdict


def _sleep(policy: Policy, samples: Samples, state: ScaleState, now: datetime) -> Verdict | None:
    """From one instance to none, where the minimum is 0 and nobody asked for `idle_seconds`; None: not now.

    Idle begins with the last demand, but not before the last action and not before the instance was ready: a service
    that was just made or woken has had no chance to be asked. A time in the future (the clock went back) is now.
    The metric has no say: it would keep up a service that idles at half its memory.
    """
    if policy.minimum > 0 or state.current != 1 or samples.waking:
        return None
    if any(instance.ready_at is None for instance in samples.instances):
        return None
    since = [m for m in (samples.demand_at, state.acted_at, *(i.ready_at for i in samples.instances)) if m is not None]
    idle = min(((now - past(moment, now)).total_seconds() for moment in since), default=policy.idle_seconds)
    if idle < policy.idle_seconds:
        return None
    return Verdict(Rule.SLEEP, 0, f"nobody asked for {policy.idle_seconds:g} s")


def _postponed(rule: Rule, obstacle: str, verdict: Verdict, state: ScaleState, wait: float) -> Recommendation:
    """No step now. Worth an event only if one was due."""
    due = verdict.target != state.current
    reason = f"{verdict.why}: {state.current} -> {verdict.target} is held back, {obstacle}" if due else obstacle
    return Recommendation(state.current, rule, reason, verdict.value, wait, held_back=due)


def _told(verdict: Verdict, state: ScaleState, wait: float) -> Recommendation:
    moves = verdict.target != state.current
    reason = f"{verdict.why}: {state.current} -> {verdict.target}" if moves else verdict.why
    return Recommendation(verdict.target, verdict.rule, reason, verdict.value, wait, verdict.held_back)
