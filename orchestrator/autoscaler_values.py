"""What the autoscaler is told and what it says: values only. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Rule(StrEnum):
    """Which rule decided. The words stand in events and in `GET .../autoscaler`."""

    BELOW_MINIMUM = "below_minimum"
    ABOVE_MAXIMUM = "above_maximum"
    SCALE_UP = "scale_up"
    SCALE_DOWN = "scale_down"
    WAKE = "wake"  # from zero: a request waits
    SLEEP = "sleep"  # to zero: nobody asked for long enough
    STEADY = "steady"  # between the thresholds
    NOT_SETTLED = "not_settled"
    WAITING = "waiting"  # wait_period
    NO_DATA = "no_data"  # none, stale or too little
    LIMITED = "limited"  # at the bound
    CAPACITY = "limited_by_capacity"
    WOULD_FLAP = "would_flap"  # a step down would push the rest over the upper threshold
    DISAGREE = "disagree"  # the window is not low as a whole


@dataclass(frozen=True)
class Policy:
    """An autoscaling_config as numbers. Thresholds in the metric's own unit: fractions, requests/s, connections."""

    metric: str  # CPU_UTILIZATION MEMORY_UTILIZATION REQUESTS_PER_SECOND CONNECTIONS
    statistic: str  # MEAN MAX MIN SUM COUNT, over the instances
    lower: float
    upper: float
    decrease_delta: int
    increase_delta: int
    minimum: int
    maximum: int
    wait_seconds: float
    window_seconds: float = 30.0
    sample_seconds: float = 5.0  # how often values come
    warmup_seconds: float = 15.0  # from ready until an instance's values count
    idle_seconds: float = 300.0  # without a request, before the last instance goes (only with minimum 0)


@dataclass(frozen=True)
class Point:
    """One value of the policy's metric of one instance."""

    at: datetime
    value: float


@dataclass(frozen=True)
class InstancePoints:
    """A living instance and its points within the window, oldest first. `ready_at` None: not ready."""

    instance_uuid: str
    ready_at: datetime | None
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Samples:
    """What was measured of a service over the window.

    `demand_at`: when the proxy last carried something for it, or had a connection open; None: not for as long as is
    known. `waking`: a request waits in the proxy for a service that sleeps.
    """

    instances: tuple[InstancePoints, ...] = ()
    demand_at: datetime | None = None
    waking: bool = False


@dataclass(frozen=True)
class ScaleState:
    """How the service stands.

    `current`: the target that stands now; `unsettled`: why the service is not settled (a rollout, a back-off, not all
    instances there yet), "" when it is. `acted_at`: the end of the last action (or the last manual change of the
    count); None: never. Whoever keeps it, keeps `past(acted_at, now)`. `room`: how many instances more the host takes,
    None: no limit known; `room_reason`: why. `refused`: of the target, how many the host has not taken.
    """

    current: int
    unsettled: str = ""
    acted_at: datetime | None = None
    room: int | None = None
    room_reason: str = ""
    refused: int = 0


@dataclass(frozen=True)
class Recommendation:
    """What to do: `target` is `state.current` when nothing is to be done. `value`: the statistic that was judged.

    `wait_seconds`: left of the wait period; `held_back`: a step was due and is not taken, or only in part, which is
    worth an event (once, as long as rule and reason stay the same kind).
    """

    target: int
    rule: Rule
    reason: str
    value: float | None = None
    wait_seconds: float = 0.0
    held_back: bool = False


def past(moment: datetime, now: datetime) -> datetime:
    """`moment`, or `now` where the clock has gone back behind it: what is to be kept from then on.

    Kept, the wait after it is one wait at most; not kept, each look would begin it anew until the clock caught up.
    """
    return min(moment, now)
