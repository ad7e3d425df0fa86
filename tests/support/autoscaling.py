"""Policies, samples and states of the autoscaler, to be varied: for tests of what it decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.autoscaler import InstancePoints, Point, Policy, Samples, ScaleState
from tests.support.world import NOW, later


def policy(**changes: Any) -> Policy:
    """CPU between 0.2 and 0.6 on average, 1 to 5 instances, one more or less at a time, and the settings' defaults."""
    fields: dict[str, Any] = {
        "metric": "CPU_UTILIZATION",
        "statistic": "MEAN",
        "lower": 0.2,
        "upper": 0.6,
        "decrease_delta": 1,
        "increase_delta": 1,
        "minimum": 1,
        "maximum": 5,
        "wait_seconds": 30.0,
    }
    return Policy(**(fields | changes))


def instance(*values: float | None, uuid: str = "i0", ready: float | None = 3600.0, newest: float = 1.0) -> Any:
    """One that became ready `ready` seconds ago (None: it is not), with a value each 5 s, the last `newest` s ago.

    None leaves a value out. One value stands for a whole window of it.
    """
    told = list(values) * 6 if len(values) == 1 else list(values)
    points = tuple(
        Point(later(-newest - 5 * back), value)
        for back, value in reversed(list(enumerate(reversed(told))))
        if value is not None
    )
    return InstancePoints(uuid, None if ready is None else later(-ready), points)


def samples(*instances: float | Sequence[float | None] | InstancePoints, **changes: Any) -> Samples:
    """Of instances i0, i1...: each a value for the whole window, a list of values, or made by `instance`."""
    made = []
    for index, told in enumerate(instances):
        if not isinstance(told, InstancePoints):
            values = told if isinstance(told, Sequence) else [told]
            told = instance(*values, uuid=f"i{index}")
        made.append(told)
    return Samples(tuple(made), **changes)


def state(current: int, acted: float | None = 3600.0, **changes: Any) -> ScaleState:
    """Settled at `current`, the last action `acted` seconds ago (None: never)."""
    return ScaleState(current, acted_at=None if acted is None else later(-acted), **changes)


__all__ = ["NOW", "instance", "later", "policy", "samples", "state"]
