"""How the autoscaler reads its window: spikes, gaps, instances that can't be counted, and each statistic."""

from __future__ import annotations

import pytest

from orchestrator.autoscaler import InstancePoints, Point, Recommendation, Rule, Samples, recommend
from tests.support.autoscaling import NOW, instance, later, policy, samples, state


def decide(
    *instances: object, current: int | None = None, acted: float | None = 3600, **changes: object
) -> Recommendation:
    told = samples(*instances)  # type: ignore[arg-type]
    return recommend(policy(**changes), told, state(len(instances) if current is None else current, acted), NOW)


def test_nothing_measured_holds() -> None:
    told = recommend(policy(), Samples(), state(2), NOW)

    assert (told.target, told.rule, told.value) == (2, Rule.NO_DATA, None)
    assert told.reason == "no CPU_UTILIZATION value in the last 30 s that counts"


def test_instance_that_should_have_told_and_has_not_is_worth_an_event() -> None:
    assert recommend(policy(), Samples((instance(ready=60),)), state(1), NOW).held_back
    assert not recommend(policy(), Samples((instance(ready=20),)), state(1), NOW).held_back


@pytest.mark.parametrize("load", [0.05, 0.95])
def test_stale_values_hold(load: float) -> None:
    told = decide(instance(load, newest=16), current=1, minimum=1)

    assert (told.target, told.rule, told.held_back) == (1, Rule.NO_DATA, True)
    assert told.reason == "the newest CPU_UTILIZATION value is 16 s old; older than 15 s is not acted on"


def test_values_up_to_three_intervals_old_are_acted_on_going_up() -> None:
    assert decide(instance(0.9, newest=14)).rule is Rule.SCALE_UP


def test_too_short_a_past_is_not_judged() -> None:
    told = decide([0.9, 0.9], acted=None)

    assert (told.target, told.rule) == (1, Rule.NO_DATA)
    assert told.reason == "2 of 6 samples of CPU_UTILIZATION are there; 3 are needed"


def test_spike_with_lost_samples_around_it_does_not_scale() -> None:
    assert decide([0.55, 0.55, None, 1.0, None, 0.55]).rule is Rule.DISAGREE


def test_half_a_window_is_enough_to_go_up_and_not_to_go_down() -> None:
    up = decide([0.9] * 3)
    down = decide([0.1] * 4, [0.1] * 4)

    assert up.rule is Rule.SCALE_UP
    assert (down.target, down.rule) == (2, Rule.NO_DATA)
    assert down.reason.endswith("is below 0.2, but a step down needs 30 s of it")


@pytest.mark.parametrize("spike", [1.0, 40.0, 1e9])
def test_spike_of_one_sample_does_not_scale(spike: float) -> None:
    told = decide([0.55, 0.55, 0.55, spike, 0.55, 0.55])

    assert (told.target, told.rule) == (1, Rule.DISAGREE)
    assert told.reason.endswith("is above 0.6 on average, but in 1 of 6 samples only, which may be a spike")


@pytest.mark.parametrize(("since", "rule"), [(3, Rule.STEADY), (4, Rule.SCALE_UP)])
def test_jump_is_answered_within_a_window(since: int, rule: Rule) -> None:
    assert decide([0.2] * (6 - since) + [1.0] * since).rule is rule


def test_going_down_needs_every_part_of_the_window() -> None:
    told = decide([0.05, 0.05, 0.25, 0.05, 0.05, 0.05], 0.05, lower=0.12)

    assert (told.target, told.rule, told.held_back) == (2, Rule.DISAGREE, False)
    assert told.reason == (
        "CPU_UTILIZATION MEAN 0.07 over 30 s is below 0.12 on average, but not throughout: 0.15 at most"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_value_that_is_no_number_counts_as_missing(value: float) -> None:
    assert decide([0.4, 0.4, value, 0.4, 0.4, 0.4]).value == pytest.approx(0.4)


def test_values_from_the_future_do_not_count() -> None:
    assert decide(instance(0.9, newest=-60)).rule is Rule.NO_DATA


def test_ready_before_the_clock_went_back_is_ready_for_long_enough() -> None:
    assert decide(instance(0.9, ready=-3600)).rule is Rule.SCALE_UP


def test_uneven_beat_leaves_no_gaps() -> None:
    """Values 4.9, 5.3, 4.6... s apart: some intervals get two of them, some none."""
    uneven = InstancePoints(
        "i0", later(-3600), tuple(Point(later(-s), 0.1) for s in (27.1, 21.9, 17.3, 10.2, 5.6, 0.4))
    )
    told = recommend(policy(), Samples((uneven, instance(0.1, uuid="i1"))), state(2), NOW)

    assert (told.rule, told.target) == (Rule.SCALE_DOWN, 1)


def test_one_lost_sample_is_bridged_and_three_are_not() -> None:
    one = decide([0.1, 0.1, None, 0.1, 0.1, 0.1], [0.1, 0.1, None, 0.1, 0.1, 0.1])
    three = decide([0.1, None, None, None, 0.1, 0.1], [0.1, None, None, None, 0.1, 0.1])

    assert (one.rule, one.value) == (Rule.SCALE_DOWN, pytest.approx(0.1))
    assert three.rule is Rule.NO_DATA


@pytest.mark.parametrize(
    "other",
    [instance(0.5, uuid="other", ready=None), instance(0.5, uuid="other", ready=10), instance(uuid="other")],
    ids=["not ready", "warming up", "no values"],
)
class TestSetAside:
    """Of two instances one tells something, the other can't be counted."""

    def test_counts_as_nothing_going_up(self, other: InstancePoints) -> None:
        told = decide(0.9, other)

        assert (told.target, told.rule, told.value) == (2, Rule.NO_DATA, 0.9)
        assert told.reason == (
            "CPU_UTILIZATION MEAN 0.90 over 30 s is above 0.6, "
            "but 0.45 with 1 instance not ready, warming up or without values counted as 0"
        )

    def test_does_not_hide_a_load_that_is_too_much_for_all_of_them(self, other: InstancePoints) -> None:
        assert decide(0.95, 0.95, 0.95, other).target == 5  # 2.85 / 4 = 0.71

    def test_counts_as_full_going_down(self, other: InstancePoints) -> None:
        told = decide(0.05, other)

        assert (told.target, told.rule) == (2, Rule.NO_DATA)
        assert told.reason == (
            "CPU_UTILIZATION MEAN 0.05 over 30 s is below 0.2, "
            "but 0.33 with 1 instance not ready, warming up or without values counted as full"
        )

    def test_does_not_hide_that_the_others_would_suffice(self, other: InstancePoints) -> None:
        assert decide(0.02, 0.02, 0.02, 0.02, other).target == 4  # (0.08 + 0.6) / 5 = 0.14


def test_instance_of_the_target_that_nothing_is_heard_of_is_set_aside() -> None:
    assert decide(0.9, current=2).rule is Rule.NO_DATA
    assert decide(0.05, current=2).rule is Rule.NO_DATA


def test_missing_values_are_worth_an_event_and_warming_up_is_not() -> None:
    assert decide(0.9, instance(uuid="i1")).held_back
    assert not decide(0.9, instance(0.5, uuid="i1", ready=10)).held_back


def test_figures_of_the_warm_up_never_count() -> None:
    """Ready 28 s ago, warm for 13 s: three values count, and the start's own load (1.0) does not."""
    told = decide(instance(1.0, 1.0, 1.0, 0.4, 0.4, 0.4, ready=28), acted=None)

    assert told.value == pytest.approx(0.4)


@pytest.mark.parametrize(("ready", "rule"), [(39, Rule.NO_DATA), (45, Rule.SCALE_DOWN)])
def test_step_down_needs_a_whole_window_after_the_warm_up(ready: float, rule: Rule) -> None:
    assert decide(instance(0.1, ready=ready), instance(0.1, uuid="i1", ready=ready), acted=None).rule is rule


@pytest.mark.parametrize(
    ("statistic", "value"), [("MEAN", 0.4), ("MAX", 0.6), ("MIN", 0.2), ("SUM", 0.8), ("COUNT", 2.0)]
)
def test_statistic_is_over_the_instances(statistic: str, value: float) -> None:
    told = decide(0.2, 0.6, statistic=statistic, lower=0.01, upper=5.0)

    assert (told.value, told.rule) == (pytest.approx(value), Rule.STEADY)
    assert f"CPU_UTILIZATION {statistic} {value:.2f} over 30 s" in told.reason


@pytest.mark.parametrize(
    ("statistic", "bounds", "loads", "target"),
    [
        ("MAX", (0.2, 0.6), (0.9, 0.1), 3),  # the busiest alone is reason enough
        ("MAX", (0.2, 0.6), (0.1, 0.25), 2),
        ("MAX", (0.4, 0.6), (0.35, 0.1), 2),  # 0.35 * 2 / 1 = 0.70
        ("MAX", (0.4, 0.6), (0.29, 0.1), 1),  # 0.58
        ("MIN", (0.2, 0.6), (0.9, 0.7), 3),  # even the idlest is busy
        ("MIN", (0.2, 0.6), (0.9, 0.5), 2),
        ("MIN", (0.2, 0.6), (0.1, 0.9), 2),  # one idles, but the mean of 0.5 would be 1.0 on one
        ("MIN", (0.2, 0.6), (0.1, 0.4), 1),  # 0.25 * 2 / 1 = 0.50
        ("SUM", (0.5, 1.2), (0.7, 0.7), 3),
        ("SUM", (0.9, 1.2), (0.4, 0.4), 1),  # the total stays 0.8
        ("COUNT", (0.5, 1.5), (0.1, 0.1), 3),
        ("COUNT", (2.5, 3.5), (0.9, 0.9), 1),
    ],
)
def test_each_statistic_steps_by_its_own_projection(
    statistic: str, bounds: tuple[float, float], loads: tuple[float, ...], target: int
) -> None:
    assert decide(*loads, statistic=statistic, lower=bounds[0], upper=bounds[1]).target == target


@pytest.mark.parametrize(
    ("statistic", "loads", "target"),
    [
        ("MAX", (0.9,), 3),  # whatever the other does, one is too busy
        ("MAX", (0.05,), 2),  # the other may be
        ("MIN", (0.9,), 2),  # the other may idle
        ("MIN", (0.05,), 2),  # both together, the other full, would be 0.75 on one
        ("MIN", (0.05, 0.05), 2),  # (0.05 + 0.05 + 0.7) / 2 = 0.40 on two
        ("SUM", (0.75,), 3),
        ("SUM", (0.05,), 2),  # 0.05 + 0.7 / 2 = 0.40
        ("SUM", (0.0, 0.0, 0.0), 3),  # 0.7 / 4 = 0.18
    ],
)
def test_instance_without_values_is_read_by_each_statistic_in_its_own_way(
    statistic: str, loads: tuple[float, ...], target: int
) -> None:
    told = decide(*loads, instance(uuid="other"), statistic=statistic, upper=0.7, lower=0.2)

    assert told.target == target


def test_requests_and_connections_are_judged_by_the_same_rules() -> None:
    told = decide(80.0, 60.0, metric="REQUESTS_PER_SECOND", lower=10, upper=50)

    assert told.reason == "REQUESTS_PER_SECOND MEAN 70.00 over 30 s is above 50: 2 -> 3"


def test_unknown_statistic_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'MEDIAN'; allowed: MEAN, MAX, MIN, SUM, COUNT"):
        decide(0.5, statistic="MEDIAN")
