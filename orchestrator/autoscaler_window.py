"""The past as the autoscaler judges it: a window cut into buckets, and what a statistic says of each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from statistics import fmean

from orchestrator.autoscaler_values import InstancePoints, Point, Policy, Samples, ScaleState, past

STALE_SAMPLES = 3.0  # a newest value older than so many sample intervals is not acted on
_ROUNDING = 1e-9


def over(value: float, threshold: float) -> bool:
    """Strictly over, by more than rounding: six times 0.6 average to 0.6."""
    return value - threshold > _ROUNDING * max(1.0, abs(threshold))


def under(value: float, threshold: float) -> bool:
    """Strictly under, by more than rounding."""
    return over(threshold, value)


@dataclass(frozen=True)
class Bucket:
    """One sample interval: the values of the instances that count, and how many instances are set aside in it.

    Set aside are those that are not ready, warm up, or have no value. They dampen both directions: they count as 0
    going up and as full going down, full being the share of an instance in the upper threshold.

    Example with MEAN, upper 0.6, values 0.9 and 0.7, one instance warming up: measured 0.8, going up 1.6 / 3 = 0.53
    (no step: the third may well be enough). Values 0.1 and 0.1: measured 0.1, going down 0.8 / 3 = 0.27.
    """

    values: tuple[float, ...]
    aside: int
    heard: bool = True  # False: its values are those of its neighbours

    @property
    def count(self) -> int:
        """All instances."""
        return len(self.values) + self.aside

    def measured(self, policy: Policy) -> float:
        """The statistic over the instances that count. Needs a value."""
        return _statistic(policy.statistic, self.values)

    def going_up(self, policy: Policy) -> float:
        """With those set aside at 0. MIN is then 0: that all are busy is not known. COUNT leaves them out."""
        if policy.statistic == "COUNT":
            return float(len(self.values))
        return _statistic(policy.statistic, (*self.values, *[0.0] * self.aside))

    def going_down(self, policy: Policy) -> float:
        """With those set aside as full. MAX is then full: that none is busy is not known.

        SUM: full instances together make up the upper threshold, so that each is worth its n-th part.
        """
        full = policy.upper / self.count if policy.statistic == "SUM" else policy.upper
        return _statistic(policy.statistic, (*self.values, *[full] * self.aside))

    def projected(self, policy: Policy, left: int) -> float:
        """What the statistic would come to with the same load on `left` instances; for MIN the mean.

        MEAN: 0.35 on 2 is 0.35 * 2 / 1 = 0.70 on 1. MAX: whoever goes carried at most the maximum, so that the busiest
        gets at most max * n / left. MIN: the idlest tells nothing of what the others carry and will have to share out;
        the mean does, and the minimum never exceeds it. SUM: the total stays. COUNT: as many as are left.
        """
        match policy.statistic:
            case "SUM":
                return self.going_down(policy)
            case "COUNT":
                return float(left)
            case "MIN":
                return fmean((*self.values, *[policy.upper] * self.aside)) * self.count / left
            case _:
                return self.going_down(policy) * self.count / left


@dataclass(frozen=True)
class Window:
    """What is known of the last `policy.window_seconds`, or of the time since the last action if that is shorter.

    Before the action another number of instances shared the load; judged by that, one surge would be answered twice.
    `buckets`: those in which anything is known, oldest first. `whole`: how many a full window has. `newest_at`: of the
    newest value. `silent`: some instance should have told a value by now, and has not.
    """

    buckets: tuple[Bucket, ...]
    whole: int
    newest_at: datetime | None
    silent: bool

    @property
    def enough(self) -> bool:
        """Half the window was heard of, and more than one bucket: less says nothing about a trend."""
        return sum(bucket.heard for bucket in self.buckets) >= needed(self.whole)

    @property
    def aside(self) -> int:
        """How many instances are set aside, where it is most."""
        return max(bucket.aside for bucket in self.buckets)


def needed(whole: int) -> int:
    """Buckets that must be known: 1 of 1, 2 of 2 to 4, 3 of 6, 6 of 12."""
    return max(min(2, whole), -(-whole // 2))


def look(policy: Policy, samples: Samples, state: ScaleState, now: datetime) -> Window:
    """The window that ends now."""
    step = policy.sample_seconds
    whole = max(1, int(policy.window_seconds / step + _ROUNDING))
    acted_at = None if state.acted_at is None else past(state.acted_at, now)
    shown = whole
    if acted_at is not None:
        shown = min(whole, int((now - acted_at).total_seconds() / step + _ROUNDING))
    heard = [_counting(policy, i, acted_at, now) for i in samples.instances]
    rows = [_row(policy, i, points, now, shown) for i, points in zip(samples.instances, heard, strict=True)]
    own = {(now - point.at) // timedelta(seconds=step) for points in heard for point in points}
    unheard = max(0, state.current - len(rows))  # of the target, and not among the living: nothing is known of them
    buckets = []
    for index in reversed(range(shown)):
        values = tuple(value for row in rows if (value := row[index]) is not None)
        if values:
            buckets.append(Bucket(values, len(rows) - len(values) + unheard, index in own))
    newest_at = max((point.at for points in heard for point in points), default=None)
    return Window(tuple(buckets), whole, newest_at, _silent(policy, samples, heard, acted_at, now))


def _silent(
    policy: Policy, samples: Samples, heard: Sequence[Sequence[Point]], acted_at: datetime | None, now: datetime
) -> bool:
    """Whether an instance that has counted for long enough, by its warm-up and the last action, told nothing lately."""
    patience = timedelta(seconds=STALE_SAMPLES * policy.sample_seconds)
    for instance, points in zip(samples.instances, heard, strict=True):
        warm_at = _warm_at(policy, instance, now)
        due = warm_at is not None and max(warm_at, acted_at or warm_at) + patience <= now
        if due and (not points or now - points[-1].at > patience):
            return True
    return False


def _row(
    policy: Policy, instance: InstancePoints, points: Sequence[Point], now: datetime, shown: int
) -> list[float | None]:
    """The instance's value for each bucket, the newest first; None: set aside.

    Bucket 0 ends now, bucket 1 a sample interval ago. Values come on no exact beat, so that a bucket without one takes
    that of its neighbour: the later one, whose average reaches back over the gap, else the earlier one.
    Example with 5 s and values 1, 6.2 and 9.9 s ago: buckets 0 and 1 have theirs, 2 takes that of bucket 1.
    """
    step = timedelta(seconds=policy.sample_seconds)
    found: list[list[float]] = [[] for _ in range(shown + 1)]
    for point in points:
        index = (now - point.at) // step
        if index <= shown:
            found[index].append(point.value)
    warm_at = _warm_at(policy, instance, now)
    row: list[float | None] = []
    for index in range(shown):
        cold = warm_at is None or now - index * step < warm_at
        values = found[index] or (found[index - 1] if index else []) or found[index + 1]
        row.append(fmean(values) if values and not cold else None)
    return row


def _counting(policy: Policy, instance: InstancePoints, acted_at: datetime | None, now: datetime) -> list[Point]:
    """Its points since its warm-up and the last action; none from the future (the clock went back), only numbers."""
    warm_at = _warm_at(policy, instance, now)
    if warm_at is None:
        return []
    since = warm_at if acted_at is None else max(warm_at, acted_at)
    return [p for p in instance.points if since <= p.at <= now and isfinite(p.value)]


def _warm_at(policy: Policy, instance: InstancePoints, now: datetime) -> datetime | None:
    """When its values begin to count. Ready "in the future" is ready from before the clock went back: long enough."""
    if instance.ready_at is None:
        return None
    if instance.ready_at > now:
        return datetime.min.replace(tzinfo=now.tzinfo)
    return instance.ready_at + timedelta(seconds=policy.warmup_seconds)


def _statistic(name: str, values: Sequence[float]) -> float:
    match name:
        case "MEAN":
            return fmean(values)
        case "MAX":
            return max(values)
        case "MIN":
            return min(values)
        case "SUM":
            return sum(values)
        case "COUNT":
            return float(len(values))
    raise ValueError(f"statistic {name!r}; allowed: MEAN, MAX, MIN, SUM, COUNT")
