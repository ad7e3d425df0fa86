"""Kubernetes' Horizontal Pod Autoscaler with its defaults, by its documented rules, to compare with."""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from statistics import fmean

from tests.simulation.world import START, World

SYNC_SECONDS = 15.0
METRIC_SECONDS = 15.0  # what a pod's figure is averaged over
TOLERANCE = 0.1
STABILISE_DOWN_SECONDS = 300.0
UP_SECONDS, UP_PODS, UP_FACTOR = 15.0, 4, 2


class Hpa:
    """desired = ceil(n * usage / target), where the target is the policy's upper threshold.

    Up at once, by at most 4 pods or the double in 15 s; down to the highest of what was desired in the last 300 s.
    Pods that are not ready or have no figure count as 0 going up and as the target going down.
    """

    def __init__(self) -> None:
        self.desired: list[tuple[float, int]] = []
        self.targets: list[tuple[float, int]] = []

    def target(self, world: World) -> int:
        """The replicas from now on; looks every 15 s only."""
        if world.t % SYNC_SECONDS:
            return world.target
        desired = max(world.policy.minimum, min(world.policy.maximum, self._desired(world)))
        self.desired.append((world.t, desired))
        highest = max(n for at, n in self.desired if world.t - at < STABILISE_DOWN_SECONDS)
        before = [n for at, n in self.targets if world.t - at >= UP_SECONDS]
        base = before[-1] if before else world.target
        allowed = max(base + UP_PODS, base * UP_FACTOR)
        target = min(desired, allowed) if desired > world.target else min(world.target, highest)
        self.targets.append((world.t, target))
        return target

    def _desired(self, world: World) -> int:
        target, current = world.policy.upper, world.target
        usage, aside = [], 0
        since = world.now - timedelta(seconds=METRIC_SECONDS)
        for pod in world.instances:
            first = max(since, START + timedelta(seconds=pod.ready_at))
            values = [p.value for p in pod.points if first < p.at]
            if pod.ready_at <= world.t and values:
                usage.append(fmean(values))
            else:
                aside += 1
        if not usage:
            return current
        ratio = fmean(usage) / target
        if aside:
            filled = fmean([*usage, *[0.0 if ratio > 1 else target] * aside]) / target
            if (ratio > 1) != (filled > 1):
                return current
            ratio = filled
        if abs(ratio - 1) <= TOLERANCE:
            return current
        return ceil(ratio * (len(usage) + aside) - 1e-9)
