"""What the window asks for: a step up, a step down, or none, within the bounds and what the host takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from orchestrator.autoscaler_values import Policy, Rule, Samples, ScaleState
from orchestrator.autoscaler_window import STALE_SAMPLES, Window, look, needed, over, under


@dataclass(frozen=True)
class Verdict:
    """What would be done if nothing else stood in the way. `why`: with its numbers, without the step itself."""

    rule: Rule
    target: int
    why: str
    value: float | None = None
    held_back: bool = False


def judge(policy: Policy, samples: Samples, state: ScaleState, now: datetime) -> Verdict:
    """The verdict of the window on a service within its bounds that has at least one instance."""
    window = look(policy, samples, state, now)
    blind = _blind(policy, window, now)
    if blind:
        return Verdict(Rule.NO_DATA, state.current, blind, held_back=window.silent)
    view = _View(policy, window)
    if over(view.value, policy.upper):
        return _doubt_above(view, state) or up(policy, state, view.above, view.value)
    if under(view.value, policy.lower):
        return _doubt_below(view, state) or _down(view, state)
    why = f"{view.said} is within {policy.lower:g} to {policy.upper:g}"
    return Verdict(Rule.STEADY, state.current, why, view.value)


def _blind(policy: Policy, window: Window, now: datetime) -> str:
    """Why the window is not to be judged at all; "" when it may be."""
    if window.newest_at is None:
        return f"no {policy.metric} value in the last {policy.window_seconds:g} s that counts"
    age, stale = (now - window.newest_at).total_seconds(), STALE_SAMPLES * policy.sample_seconds
    if age > stale:
        return f"the newest {policy.metric} value is {age:.0f} s old; older than {stale:g} s is not acted on"
    if not window.enough:
        known, least = sum(bucket.heard for bucket in window.buckets), needed(window.whole)
        return f"{known} of {window.whole} samples of {policy.metric} are there; {least} are needed"
    return ""


def _doubt_above(view: _View, state: ScaleState) -> Verdict | None:
    """Why an average above the upper threshold is not acted on; None when it is.

    Besides the average the majority of the buckets must be above, or one wild value would do: five at 10 requests/s and
    one at 1000 average to 175. With six buckets of 5 s a jump is answered after 20 s.
    """
    policy = view.policy
    damped = fmean(view.ups)
    if not over(damped, policy.upper):
        why = f"{view.above}, but {_number(damped)} with {view.aside('0')}"
        return Verdict(Rule.NO_DATA, state.current, why, view.value, view.window.silent)
    heard = [value for value, bucket in zip(view.ups, view.window.buckets, strict=True) if bucket.heard]
    high = sum(over(value, policy.upper) for value in heard)
    if high * 2 <= len(heard):
        why = f"{view.above} on average, but in {high} of {len(heard)} samples only, which may be a spike"
        return Verdict(Rule.DISAGREE, state.current, why, view.value)
    return None


def _doubt_below(view: _View, state: ScaleState) -> Verdict | None:
    """Why an average below the lower threshold is not acted on; None when it is."""
    policy, window = view.policy, view.window
    if not under(max(view.measured), policy.lower):
        why = f"{view.below} on average, but not throughout: {_number(max(view.measured), policy.lower)} at most"
        return Verdict(Rule.DISAGREE, state.current, why, view.value)
    if len(window.buckets) < window.whole:
        why = f"{view.below}, but a step down needs {window.whole * policy.sample_seconds:g} s of it"
        return Verdict(Rule.NO_DATA, state.current, why, view.value, window.silent)
    if not under(max(view.downs), policy.lower):
        why = f"{view.below}, but {_number(max(view.downs), policy.lower)} with {view.aside('full')}"
        return Verdict(Rule.NO_DATA, state.current, why, view.value, window.silent)
    return None


def up(policy: Policy, state: ScaleState, why: str, value: float | None = None, wanted: int | None = None) -> Verdict:
    """A step up by the policy's delta (or by `wanted`), as far as the maximum and the host let it.

    2 instances, delta 3, maximum 4, room for 1: to 3, limited by capacity; with room for 5: to 4, the maximum.
    """
    wanted = policy.increase_delta if wanted is None else wanted
    allowed = min(wanted, policy.maximum - state.current)
    if allowed <= 0:
        return Verdict(
            Rule.LIMITED, state.current, f"{why}, but the maximum of {policy.maximum} is reached", value, True
        )
    if state.room is not None and state.room < allowed:
        room = max(0, state.room)
        limit = f"limited by capacity: {state.room_reason or 'the host is full'}"
        took = f", {room} of {allowed} more" if room else ""
        return Verdict(Rule.CAPACITY, state.current + room, f"{why}; {limit}{took}", value, True)
    bound = f", {allowed} of {wanted} more up to the maximum" if allowed < wanted else ""
    return Verdict(Rule.SCALE_UP, state.current + allowed, why + bound, value, allowed < wanted)


def _down(view: _View, state: ScaleState) -> Verdict:
    """A step down by the delta, or the largest smaller one that leaves the rest strictly under the upper threshold.

    4 instances at 0.25, lower 0.3, upper 0.6, delta 3: on 1 it would be 1.00, on 2 0.50: so down by 2. With 2 at 0.35,
    lower 0.4, delta 1: on 1 it would be 0.70, which would be scaled up again at once: not at all.
    With minimum 0 the last instance is not the metric's to take: it goes when nobody asks.
    """
    policy, why = view.policy, view.below
    floor = max(policy.minimum, 1)
    wanted = min(policy.decrease_delta, state.current - floor)
    if wanted <= 0:
        what = (
            f"the minimum of {floor} is reached"
            if policy.minimum
            else f"the last one stays until nobody asked for {policy.idle_seconds:g} s"
        )
        return Verdict(Rule.LIMITED, state.current, f"{why}, but {what}", view.value, True)
    projected = {step: view.projected(state.current - step) for step in range(1, wanted + 1)}
    step = max((s for s, value in projected.items() if under(value, policy.upper)), default=0)
    if step == wanted:
        return Verdict(Rule.SCALE_DOWN, state.current - step, why, view.value)
    left = state.current - step - 1
    limit = f"on {left} it would be {_number(projected[step + 1])}, not under {policy.upper:g}"
    if step == 0:
        return Verdict(Rule.WOULD_FLAP, state.current, f"{why}, but {limit}", view.value, True)
    return Verdict(Rule.SCALE_DOWN, state.current - step, f"{why}; {limit}", view.value, True)


class _View:
    """A window read with its policy, and how to speak of it. `value`: what was measured, on average."""

    def __init__(self, policy: Policy, window: Window) -> None:
        self.policy, self.window = policy, window
        self.measured = [bucket.measured(policy) for bucket in window.buckets]
        self.ups = [bucket.going_up(policy) for bucket in window.buckets]
        self.downs = [bucket.going_down(policy) for bucket in window.buckets]
        self.value = fmean(self.measured)

    @property
    def said(self) -> str:
        seconds = len(self.window.buckets) * self.policy.sample_seconds
        shown = _number(self.value, self.policy.lower, self.policy.upper)
        return f"{self.policy.metric} {self.policy.statistic} {shown} over {seconds:g} s"

    @property
    def above(self) -> str:
        return f"{self.said} is above {self.policy.upper:g}"

    @property
    def below(self) -> str:
        return f"{self.said} is below {self.policy.lower:g}"

    def aside(self, counted: str) -> str:
        count = self.window.aside
        who = f"{count} instance{'s' if count > 1 else ''} not ready, warming up or without values"
        return f"{who} counted as {counted}"

    def projected(self, left: int) -> float:
        """The statistic on `left` instances with the load of the busiest bucket."""
        return max(bucket.projected(self.policy, left) for bucket in self.window.buckets)


def _number(value: float, *beside: float) -> str:
    """With two digits, or as many as tell it from the thresholds it stands beside: 0.6004 is above 0.6, not 0.60."""
    equal = not all(over(value, other) or under(value, other) for other in beside)
    texts = [f"{value:.{digits}f}" for digits in (2, 3, 4, 6)]
    return next((text for text in texts if equal or float(text) not in beside), f"{value:g}")
