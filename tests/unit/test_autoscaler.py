"""What the autoscaler decides on, in which order, and how it says so: bounds, zero, waiting, steps, limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.autoscaler import Rule, Samples, past, recommend
from tests.support.autoscaling import NOW, instance, later, policy, samples, state

FULL = "the host has 100 MB of memory free, an instance needs 512"


def test_load_above_upper_scales_up_and_says_by_which_numbers() -> None:
    told = recommend(policy(), samples(0.9, 0.76), state(2), NOW)

    assert (told.target, told.rule, told.held_back) == (3, Rule.SCALE_UP, False)
    assert told.reason == "CPU_UTILIZATION MEAN 0.83 over 30 s is above 0.6: 2 -> 3"
    assert told.value == pytest.approx(0.83)


def test_load_below_lower_scales_down_and_says_by_which_numbers() -> None:
    told = recommend(policy(), samples(0.1, 0.1, 0.1), state(3), NOW)

    assert (told.target, told.rule, told.held_back) == (2, Rule.SCALE_DOWN, False)
    assert told.reason == "CPU_UTILIZATION MEAN 0.10 over 30 s is below 0.2: 3 -> 2"


@pytest.mark.parametrize("value", [0.2, 0.4, 0.6])
def test_load_between_or_at_the_thresholds_is_steady(value: float) -> None:
    told = recommend(policy(), samples(value, value), state(2), NOW)

    assert (told.target, told.rule, told.held_back) == (2, Rule.STEADY, False)
    assert told.reason == f"CPU_UTILIZATION MEAN {value:.2f} over 30 s is within 0.2 to 0.6"


def test_value_just_above_the_threshold_is_told_apart_from_it() -> None:
    assert "MEAN 0.6004 over 30 s is above 0.6" in recommend(policy(), samples(0.6004), state(1), NOW).reason


@pytest.mark.parametrize("unsettled", ["", "a rollout is under way"])
@pytest.mark.parametrize(
    ("current", "target", "rule", "reason"),
    [
        (1, 2, Rule.BELOW_MINIMUM, "1 is below the minimum of 2: 1 -> 2"),
        (0, 2, Rule.BELOW_MINIMUM, "0 is below the minimum of 2: 0 -> 2"),
        (5, 4, Rule.ABOVE_MAXIMUM, "5 is above the maximum of 4: 5 -> 4"),
        (9, 4, Rule.ABOVE_MAXIMUM, "9 is above the maximum of 4: 9 -> 4"),
    ],
)
def test_count_outside_the_bounds_is_corrected_without_metrics_or_waiting(
    current: int, target: int, rule: Rule, reason: str, unsettled: str
) -> None:
    bounded = policy(minimum=2, maximum=4, wait_seconds=300)

    told = recommend(bounded, Samples(), state(current, acted=1, unsettled=unsettled), NOW)

    assert (told.target, told.rule, told.reason) == (target, rule, reason)


def test_sleeping_service_wakes_at_once_for_a_request() -> None:
    told = recommend(policy(minimum=0, wait_seconds=300), Samples(waking=True), state(0, acted=1), NOW)

    assert (told.target, told.rule, told.reason) == (1, Rule.WAKE, "a request waits: 0 -> 1")


def test_sleeping_service_that_nobody_asks_sleeps_on() -> None:
    told = recommend(policy(minimum=0), Samples(demand_at=later(-5)), state(0), NOW)

    assert (told.target, told.rule, told.reason) == (0, Rule.STEADY, "asleep until a request comes")


def test_waking_on_a_full_host_says_so_and_stays_at_zero() -> None:
    told = recommend(policy(minimum=0), Samples(waking=True), state(0, room=0, room_reason=FULL), NOW)

    assert (told.target, told.rule, told.held_back) == (0, Rule.CAPACITY, True)
    assert told.reason == f"a request waits; limited by capacity: {FULL}"


def test_last_instance_goes_when_nobody_asked_for_long_enough() -> None:
    asked = samples(0.0, demand_at=later(-300))

    told = recommend(policy(minimum=0), asked, state(1), NOW)

    assert (told.target, told.rule, told.reason) == (0, Rule.SLEEP, "nobody asked for 300 s: 1 -> 0")


@pytest.mark.parametrize(
    ("demand", "acted", "ready"),
    [(299, 3600, 3600), (None, 299, 3600), (None, None, 299), (3600, 3600, None), (-50, 3600, 3600)],
    ids=["asked", "just woken", "just made", "not ready", "asked before the clock went back"],
)
def test_last_instance_stays_until_it_could_have_been_asked_for_long_enough(
    demand: float | None, acted: float | None, ready: float | None
) -> None:
    asked = samples(instance(0.0, ready=ready), demand_at=None if demand is None else later(-demand))

    assert recommend(policy(minimum=0), asked, state(1, acted), NOW).target == 1


def test_service_never_asked_sleeps_once_it_has_been_there_for_long_enough() -> None:
    assert recommend(policy(minimum=0), samples(0.4), state(1, acted=None), NOW).rule is Rule.SLEEP


def test_metric_alone_never_takes_the_last_instance() -> None:
    told = recommend(policy(minimum=0, decrease_delta=5), samples(0.0, 0.0, demand_at=later(-5)), state(2), NOW)
    last = recommend(policy(minimum=0), samples(0.0, demand_at=later(-5)), state(1), NOW)

    assert (told.target, told.rule) == (1, Rule.SCALE_DOWN)
    assert (last.target, last.rule) == (1, Rule.LIMITED)
    assert last.reason.endswith("is below 0.2, but the last one stays until nobody asked for 300 s")


def test_several_instances_never_go_all_at_once() -> None:
    told = recommend(policy(minimum=0, decrease_delta=2), samples(0.4, 0.4, demand_at=later(-900)), state(2), NOW)

    assert (told.target, told.rule) == (2, Rule.STEADY)


def test_service_that_is_being_woken_does_not_fall_asleep() -> None:
    asked = samples(0.4, demand_at=later(-900), waking=True)

    assert recommend(policy(minimum=0), asked, state(1), NOW).rule is Rule.STEADY


def test_service_with_minimum_one_never_sleeps() -> None:
    assert recommend(policy(), samples(0.0), state(1), NOW).target == 1


@pytest.mark.parametrize(
    ("load", "reason", "held_back"),
    [
        (
            0.9,
            "CPU_UTILIZATION MEAN 0.90 over 30 s is above 0.6: 2 -> 3 is held back, "
            "the service is not settled (a rollout is under way)",
            True,
        ),
        (0.4, "the service is not settled (a rollout is under way)", False),
    ],
)
def test_unsettled_service_is_not_scaled(load: float, reason: str, held_back: bool) -> None:
    told = recommend(policy(), samples(load, load), state(2, unsettled="a rollout is under way"), NOW)

    assert (told.target, told.rule, told.reason, told.held_back) == (2, Rule.NOT_SETTLED, reason, held_back)


def test_step_waits_for_the_rest_of_the_wait_period() -> None:
    told = recommend(policy(wait_seconds=60), samples(0.9, 0.9), state(2, acted=48), NOW)

    assert (told.target, told.rule, told.wait_seconds, told.held_back) == (2, Rule.WAITING, 12, True)
    assert told.reason.endswith("is above 0.6: 2 -> 3 is held back, the wait period has 12 s left")


def test_waiting_with_nothing_to_do_is_no_event() -> None:
    told = recommend(policy(wait_seconds=60), samples(0.4, 0.4), state(2, acted=48), NOW)

    assert (told.rule, told.held_back, told.reason) == (Rule.WAITING, False, "the wait period has 12 s left")


def test_step_is_taken_the_moment_the_wait_period_is_over() -> None:
    assert recommend(policy(), samples(0.9, 0.9), state(2, acted=30), NOW).rule is Rule.SCALE_UP
    assert recommend(policy(), samples(0.9, 0.9), state(2, acted=29.9), NOW).rule is Rule.WAITING


def test_service_never_scaled_does_not_wait() -> None:
    assert recommend(policy(), samples(0.9), state(1, acted=None), NOW).rule is Rule.SCALE_UP


def test_clock_that_went_back_makes_the_wait_no_longer_than_the_whole() -> None:
    acted_at = later(3600)
    told = recommend(policy(), samples(0.9), replace(state(1), acted_at=acted_at), NOW)
    kept = past(acted_at, NOW)
    after = recommend(policy(), shifted(samples(0.9), 30), replace(state(1), acted_at=kept), later(30))

    assert (told.rule, told.wait_seconds) == (Rule.WAITING, 30)
    assert (kept, after.rule) == (NOW, Rule.SCALE_UP)


def shifted(told: Samples, seconds: float) -> Samples:
    """The same, measured so many seconds later."""
    moved = later(seconds) - NOW
    return replace(
        told,
        instances=tuple(
            replace(i, points=tuple(replace(p, at=p.at + moved) for p in i.points)) for i in told.instances
        ),
    )


def test_values_from_before_the_last_action_do_not_count() -> None:
    """They tell of another number of instances: with them 1 -> 2 would be followed by 2 -> 3 on the same surge."""
    surge = samples([1.0, 1.0, 1.0, 0.5, 0.5, 0.5], [0.4, 0.4, 0.4, 0.5, 0.5, 0.5])

    told = recommend(policy(wait_seconds=10, upper=0.55), surge, state(2, acted=15), NOW)

    assert (told.rule, told.value) == (Rule.STEADY, 0.5)


def test_gap_after_the_last_action_is_not_filled_with_what_was_before_it() -> None:
    told = recommend(policy(window_seconds=20), samples([1.0, None, None, 0.5, 0.5]), state(1, acted=20), NOW)

    assert (told.rule, told.value) == (Rule.WAITING, 0.5)


@pytest.mark.parametrize(("acted", "rule"), [(27, Rule.NO_DATA), (30, Rule.SCALE_DOWN)])
def test_step_down_needs_a_whole_window_after_the_last_action(acted: float, rule: Rule) -> None:
    assert recommend(policy(wait_seconds=0), samples(0.1, 0.1), state(2, acted), NOW).rule is rule


@pytest.mark.parametrize(
    ("current", "delta", "target", "rule", "held_back"),
    [
        (2, 2, 4, Rule.SCALE_UP, False),
        (4, 2, 5, Rule.SCALE_UP, True),
        (5, 2, 5, Rule.LIMITED, True),
    ],
)
def test_step_up_ends_at_the_maximum(current: int, delta: int, target: int, rule: Rule, held_back: bool) -> None:
    told = recommend(policy(increase_delta=delta), samples(*[0.9] * current), state(current), NOW)

    assert (told.target, told.rule, told.held_back) == (target, rule, held_back)


def test_service_at_its_maximum_says_that_it_is_limited() -> None:
    told = recommend(policy(maximum=2), samples(0.9, 0.9), state(2), NOW)

    assert told.reason == "CPU_UTILIZATION MEAN 0.90 over 30 s is above 0.6, but the maximum of 2 is reached"


@pytest.mark.parametrize(
    ("current", "target", "rule", "held_back"),
    [(5, 2, Rule.SCALE_DOWN, False), (3, 1, Rule.SCALE_DOWN, False), (1, 1, Rule.LIMITED, True)],
)
def test_step_down_ends_at_the_minimum(current: int, target: int, rule: Rule, held_back: bool) -> None:
    told = recommend(policy(decrease_delta=3), samples(*[0.05] * current), state(current), NOW)

    assert (told.target, told.rule, told.held_back) == (target, rule, held_back)


@pytest.mark.parametrize(("room", "target"), [(0, 1), (1, 2), (2, 3), (-1, 1)])
def test_full_host_gets_as_many_as_it_takes(room: int, target: int) -> None:
    told = recommend(policy(increase_delta=3), samples(0.9), state(1, room=room, room_reason=FULL), NOW)

    assert (told.target, told.rule, told.held_back) == (target, Rule.CAPACITY, True)
    assert f"; limited by capacity: {FULL}" in told.reason


def test_host_with_room_enough_is_not_mentioned() -> None:
    assert recommend(policy(), samples(0.9), state(1, room=1, room_reason=FULL), NOW).rule is Rule.SCALE_UP


def test_step_down_that_would_be_scaled_up_again_is_not_taken() -> None:
    told = recommend(policy(lower=0.4), samples(0.35, 0.35), state(2), NOW)

    assert (told.target, told.rule, told.held_back) == (2, Rule.WOULD_FLAP, True)
    assert told.reason == "CPU_UTILIZATION MEAN 0.35 over 30 s is below 0.4, but on 1 it would be 0.70, not under 0.6"


def test_step_down_is_as_large_as_leaves_the_rest_under_the_upper_threshold() -> None:
    told = recommend(policy(lower=0.3, decrease_delta=3), samples(*[0.25] * 4), state(4), NOW)

    assert (told.target, told.rule) == (2, Rule.SCALE_DOWN)
    assert told.reason.endswith("is below 0.3; on 1 it would be 1.00, not under 0.6: 4 -> 2")


def test_step_down_is_judged_by_the_busiest_moment_of_the_window() -> None:
    """13 at 0.307 would be 7 at 0.57; but once it was 0.34, which would be 0.63."""
    busy = [0.3, 0.3, 0.34, 0.3, 0.3, 0.3]

    told = recommend(policy(lower=0.35, decrease_delta=6, maximum=20), samples(*[busy] * 13), state(13), NOW)

    assert (told.target, told.rule) == (8, Rule.SCALE_DOWN)
