"""A world on a fake clock: a load, the instances that share it, and an autoscaler that looks every sample interval.

Load is measured in instances: 2.0 keeps two of them fully busy. A second is a step; nothing is random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Protocol

from orchestrator.autoscaler import InstancePoints, Point, Policy

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SETTLED_SECONDS = 2.0
KEPT_POINTS = 24  # as many as any window looks back


@dataclass(frozen=True)
class Curve:
    """A load over time and the circumstances it comes in.

    `capped`: an instance's value ends at 1.0, as CPU does: at its limit it does not say how far it is short.
    `lost(t, slot)`: that sample is not taken. `down`: spans in which no autoscaler and no sampler runs.
    """

    name: str
    seconds: int
    load: Callable[[float], float]
    first: int = 1
    start_seconds: float = 5.0
    capped: bool = True
    lost: Callable[[float, int], bool] = lambda t, slot: False
    down: tuple[tuple[float, float], ...] = ()


@dataclass(eq=False)
class Instance:
    """One of the service. It works from `ready_at` on; while it starts it keeps itself fully busy."""

    uuid: str
    ready_at: float
    since: float  # when `used` began
    used: float = 0.0
    points: list[Point] = field(default_factory=list)


@dataclass(frozen=True)
class Second:
    """What was true in one second. `needed`: instances that would keep the load under the upper threshold."""

    t: int
    load: float
    target: int
    ready: int
    needed: int


class Autoscaler(Protocol):
    """Looks at the world, and says what the target should be; called every sample interval."""

    def target(self, world: World) -> int:
        """The target from now on."""


class World:
    """The service under a curve. `now`: the clock; `t`: seconds since the start."""

    def __init__(self, curve: Curve, policy: Policy) -> None:
        self.curve, self.policy = curve, policy
        self.t, self.target, self.made = 0.0, curve.first, 0
        self.instances: list[Instance] = []
        for _ in range(curve.first):
            self._make(ready_at=-3600.0)

    @property
    def now(self) -> datetime:
        """The clock."""
        return START + timedelta(seconds=self.t)

    def ready(self) -> list[Instance]:
        """Those that share the load."""
        return [i for i in self.instances if i.ready_at <= self.t]

    def unsettled(self) -> str:
        """Why the service is not settled; "" when it is."""
        there = sum(i.ready_at + SETTLED_SECONDS <= self.t for i in self.instances)
        return "" if there == self.target == len(self.instances) else f"{there} of {self.target} instances are there"

    def points(self, seconds: float) -> tuple[InstancePoints, ...]:
        """What was measured in the last `seconds`."""
        since = self.now - timedelta(seconds=seconds)
        return tuple(
            InstancePoints(
                i.uuid,
                START + timedelta(seconds=i.ready_at) if i.ready_at <= self.t else None,
                tuple(p for p in i.points if p.at >= since),
            )
            for i in self.instances
        )

    def run(self, scaler: Autoscaler) -> list[Second]:
        """The whole curve, second by second."""
        seen = []
        for second in range(1, self.curve.seconds + 1):
            self.t = float(second)
            load = self.curve.load(self.t)
            self._work(load)
            if second % int(self.policy.sample_seconds) == 0:
                awake = not any(start <= self.t < end for start, end in self.curve.down)
                self._sample(awake)
                if awake:
                    self._scale(scaler.target(self))
            seen.append(Second(second, load, self.target, len(self.ready()), self.needed(load)))
        return seen

    def needed(self, load: float) -> int:
        """Within the bounds."""
        wanted = ceil(load / self.policy.upper - 1e-9)
        return max(self.policy.minimum, min(self.policy.maximum, wanted))

    def _work(self, load: float) -> None:
        ready = self.ready()
        for instance in self.instances:
            share = load / len(ready) if instance.ready_at <= self.t else 1.0
            instance.used += min(1.0, share) if self.curve.capped else share

    def _sample(self, awake: bool) -> None:
        """Each instance's average since the last sample; one that is lost leaves its time to the next one."""
        for slot, instance in enumerate(self.instances):
            if awake and not self.curve.lost(self.t, slot):
                instance.points.append(Point(self.now, instance.used / (self.t - instance.since)))
                instance.since, instance.used = self.t, 0.0
                del instance.points[:-KEPT_POINTS]

    def _scale(self, target: int) -> None:
        self.target = target
        del self.instances[target:]
        while len(self.instances) < target:
            self._make(ready_at=self.t + self.curve.start_seconds)

    def _make(self, ready_at: float) -> None:
        self.instances.append(Instance(f"i{self.made}", ready_at, self.t))
        self.made += 1


@dataclass(frozen=True)
class Score:
    """How a run went.

    `short`: seconds with too few ready instances to stay under the upper threshold; `saturated`: with too few for the
    load at all; `surplus`: instance-seconds beyond what was needed; `turns`: steps against the
    direction of the one before; `overshoot`: the highest target beyond the highest need.
    """

    short: int
    saturated: int
    surplus: int
    actions: int
    turns: int
    overshoot: int


def score(run: Sequence[Second]) -> Score:
    """The score of a run."""
    steps = [b.target - a.target for a, b in pairwise(run) if a.target != b.target]
    return Score(
        short=sum(s.ready < s.needed for s in run),
        saturated=sum(s.load > s.ready for s in run),
        surplus=sum(max(0, s.ready - s.needed) for s in run),
        actions=len(steps),
        turns=sum((a > 0) != (b > 0) for a, b in pairwise(steps)),
        overshoot=max(0, max(s.target for s in run) - max(s.needed for s in run)),
    )
