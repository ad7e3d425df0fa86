"""What the autoscaler never does, whatever is measured, and what does not change its mind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.autoscaler import InstancePoints, Point, Policy, Rule, Samples, ScaleState, recommend
from tests.support.autoscaling import NOW, later

AT_ONCE = {Rule.BELOW_MINIMUM, Rule.ABOVE_MAXIMUM, Rule.WAKE}
STEPS = {Rule.SCALE_UP, Rule.SCALE_DOWN, Rule.SLEEP, Rule.CAPACITY, *AT_ONCE}
AGES = st.floats(-60, 4000) | st.none()
VALUES = st.floats(0, 4) | st.sampled_from([0.2, 0.6, float("nan"), float("inf")])


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    lower = draw(st.floats(0.01, 1))
    minimum = draw(st.integers(0, 4))
    return Policy(
        metric="CPU_UTILIZATION",
        statistic=draw(st.sampled_from(["MEAN", "MAX", "MIN", "SUM", "COUNT"])),
        lower=lower,
        upper=lower + draw(st.floats(0.01, 2)),
        decrease_delta=draw(st.integers(1, 5)),
        increase_delta=draw(st.integers(1, 5)),
        minimum=minimum,
        maximum=max(1, minimum + draw(st.integers(0, 6))),
        wait_seconds=draw(st.sampled_from([0.0, 5.0, 30.0, 300.0])),
        window_seconds=draw(st.sampled_from([5.0, 17.0, 30.0, 60.0])),
    )


WHOLE = tuple(range(1, 62, 5))
BEATS = {  # how old the values are that an instance told
    "whole": WHOLE,
    "gap": (1, 6, 21, 26, 31),
    "stale": (22, 27, 32),
    "uneven": (0.4, 5.6, 10.2, 17.3, 21.9, 27.1, 33),
    "future": (-30, -5, 1, 6),
    "few": (1, 6),
    "none": (),
}
INSTANCES = st.tuples(
    st.just("whole") | st.sampled_from(sorted(BEATS)), st.just(3600.0) | AGES, VALUES, VALUES, st.integers(0, 12)
)


def instance(index: int, beat: str, ready: float | None, level: float, other: float, others: int) -> InstancePoints:
    """At `level`, but for the newest `others` of its values."""
    told = [(age, other if n < others else level) for n, age in enumerate(BEATS[beat])]
    points = tuple(Point(later(-age), value) for age, value in reversed(told))
    return InstancePoints(f"i{index}", None if ready is None else later(-ready), points)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Policy, Samples, ScaleState]:
    """Anything, however unlikely."""
    policy = draw(policies())
    living = draw(st.lists(INSTANCES, max_size=6))
    demand, acted = draw(AGES), draw(AGES)
    told = Samples(
        tuple(instance(index, *values) for index, values in enumerate(living)),
        demand_at=None if demand is None else later(-demand),
        waking=draw(st.booleans()),
    )
    state = ScaleState(
        draw(st.just(len(living)) | st.integers(0, 12)),
        unsettled=draw(st.sampled_from(["", "", "a rollout is under way"])),
        acted_at=None if acted is None else later(-acted),
        room=draw(st.none() | st.integers(0, 6)),
        room_reason="the host is full",
    )
    return policy, told, state


@st.composite
def calm_situations(draw: st.DrawFn) -> tuple[Policy, Samples, ScaleState]:
    """Settled, within the bounds, nothing to wait for, everything measured, at a steady load that is not between."""
    policy = replace(draw(policies()), minimum=1, maximum=8)
    current = draw(st.integers(2, 7))
    base = policy.upper * 1.01 if draw(st.booleans()) else policy.lower * draw(st.floats(0, 0.99))
    level = base / current if policy.statistic == "SUM" else base
    told = Samples(tuple(instance(index, "whole", 3600.0, level, level, 0) for index in range(current)))
    return policy, told, ScaleState(current)


@given(situations())
def test_target_is_within_the_bounds_or_held_below_them_by_the_host(situation: tuple) -> None:
    policy, told, state = situation
    target = recommend(policy, told, state, NOW).target

    assert target <= policy.maximum
    assert target >= policy.minimum or (state.room is not None and target == state.current + state.room)


@given(situations())
def test_steps_are_no_larger_than_the_policy_and_the_host_allow(situation: tuple) -> None:
    policy, told, state = situation
    answer = recommend(policy, told, state, NOW)
    moved = answer.target - state.current
    inside = policy.minimum <= state.current <= policy.maximum

    if inside and state.current > 0:
        assert -policy.decrease_delta <= moved <= policy.increase_delta
    if state.room is not None:
        assert moved <= state.room
    assert moved == 0 or answer.rule in STEPS
    assert (moved > 0) <= (answer.rule not in {Rule.SCALE_DOWN, Rule.SLEEP, Rule.ABOVE_MAXIMUM})


@given(situations())
def test_unsettled_or_waiting_service_moves_to_its_bounds_or_wakes_and_nothing_else(situation: tuple) -> None:
    policy, told, state = situation
    answer = recommend(policy, told, state, NOW)

    assert 0 <= answer.wait_seconds <= policy.wait_seconds
    if answer.target != state.current and (state.unsettled or answer.wait_seconds > 0):
        inside = policy.minimum <= state.current <= policy.maximum
        assert answer.rule in AT_ONCE or not inside or (state.current == 0 and told.waking)


@given(situations())
def test_without_data_only_bounds_demand_and_sleep_move_anything(situation: tuple) -> None:
    policy, told, state = situation
    state = replace(state, current=max(1, min(policy.maximum, max(policy.minimum, state.current))))
    mute = replace(told, instances=tuple(replace(i, points=()) for i in told.instances))
    answer = recommend(policy, mute, state, NOW)

    assert answer.target == state.current or answer.rule is Rule.SLEEP


@given(situations())
def test_same_arguments_give_the_same_answer(situation: tuple) -> None:
    assert recommend(*situation, NOW) == recommend(*situation, NOW)


@given(situations(), st.integers(-10_000, 10_000))
def test_only_the_distance_in_time_counts(situation: tuple, seconds: int) -> None:
    policy, told, state = situation
    by = timedelta(seconds=seconds)
    moved = Samples(
        tuple(
            replace(
                i, ready_at=i.ready_at and i.ready_at + by, points=tuple(Point(p.at + by, p.value) for p in i.points)
            )
            for i in told.instances
        ),
        told.demand_at and told.demand_at + by,
        told.waking,
    )

    there = replace(state, acted_at=state.acted_at and state.acted_at + by)

    assert recommend(policy, told, state, NOW) == recommend(policy, moved, there, NOW + by)


@given(situations())
def test_order_of_the_instances_does_not_matter(situation: tuple) -> None:
    policy, told, state = situation
    turned = replace(told, instances=told.instances[::-1])

    assert recommend(policy, told, state, NOW).target == recommend(policy, turned, state, NOW).target


@given(situations(), st.floats(1.0, 10.0))
def test_more_load_on_all_never_means_fewer_instances(situation: tuple, factor: float) -> None:
    policy, told, state = situation
    more = replace(
        told,
        instances=tuple(
            replace(i, points=tuple(replace(p, value=p.value * factor) for p in i.points)) for i in told.instances
        ),
    )

    assert recommend(policy, told, state, NOW).target <= recommend(policy, more, state, NOW).target


@given(policies(), st.integers(0, 12), st.booleans())
def test_what_was_corrected_or_woken_is_not_corrected_again(policy: Policy, current: int, waking: bool) -> None:
    told = Samples(waking=waking)
    answer = recommend(policy, told, ScaleState(current), NOW)

    assert recommend(policy, told, ScaleState(answer.target), NOW).rule not in AT_ONCE


@given(calm_situations())
def test_step_is_followed_by_a_pause(situation: tuple) -> None:
    """The same samples right after a step move nothing more, even without a wait period."""
    policy, told, state = situation
    answer = recommend(policy, told, state, NOW)
    after = replace(state, current=answer.target, acted_at=NOW)

    assert recommend(replace(policy, wait_seconds=0.0), told, after, NOW).target == answer.target


@given(calm_situations())
def test_step_down_never_leaves_a_load_that_would_step_up_again(situation: tuple) -> None:
    """The same load on those that are left is looked at a window later."""
    policy, told, state = situation
    answer = recommend(policy, told, state, NOW)
    if answer.rule is not Rule.SCALE_DOWN:
        return
    share = state.current / answer.target
    left = tuple(
        replace(i, points=tuple(replace(p, value=p.value * share) for p in i.points))
        for i in told.instances[: answer.target]
    )

    assert recommend(policy, Samples(left), ScaleState(answer.target), NOW).rule is not Rule.SCALE_UP


@given(situations())
def test_every_answer_says_why(situation: tuple) -> None:
    answer = recommend(*situation, NOW)

    assert answer.reason
    assert answer.target == situation[2].current or f": {situation[2].current} -> {answer.target}" in answer.reason
    assert "nan" not in answer.reason
