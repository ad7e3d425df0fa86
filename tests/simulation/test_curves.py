"""What the autoscaler makes of whole load curves, on a fake clock: enough, not too much, not to and fro."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from orchestrator.autoscaler import Policy, Rule
from tests.simulation.curves import (
    ALL,
    BORDER,
    MISSING,
    NOISE,
    RAMP,
    REQUESTS,
    RESTART,
    SAWTOOTH,
    SLOW_START,
    SPIKE,
    STALE,
    STEP,
    WAVE,
)
from tests.simulation.scalers import Skylark
from tests.simulation.world import Curve, Second, World, score
from tests.support.autoscaling import policy

POLICY = policy(maximum=6)


@cache
def outcome(curve: Curve, wanted: Policy = POLICY) -> tuple[list[Second], Skylark]:
    scaler = Skylark()
    return World(curve, wanted).run(scaler), scaler


def steps(curve: Curve, wanted: Policy = POLICY) -> list[tuple[int, int]]:
    """When the target changed, and to what."""
    run, _ = outcome(curve, wanted)
    return [(b.t, b.target) for a, b in pairwise(run) if a.target != b.target]


@pytest.mark.parametrize("statistic", ["MEAN", "MAX", "MIN", "SUM"])
@pytest.mark.parametrize("curve", ALL, ids=lambda curve: curve.name)
def test_target_never_leaves_the_bounds(curve: Curve, statistic: str) -> None:
    run, _ = outcome(curve, replace(POLICY, minimum=2, maximum=3, statistic=statistic, increase_delta=4))

    assert {second.target for second in run[5:]} <= {2, 3}


@pytest.mark.parametrize("curve", ALL, ids=lambda curve: curve.name)
def test_no_more_instances_are_asked_for_than_the_load_ever_needs(curve: Curve) -> None:
    """Steps of one at a time, each judged on values from after the one before, do not shoot past."""
    run, _ = outcome(curve)

    assert score(run).overshoot == 0


@pytest.mark.parametrize("delta", [2, 3])
def test_larger_steps_overshoot_by_less_than_one_step(delta: int) -> None:
    run, _ = outcome(STEP, replace(POLICY, increase_delta=delta, maximum=20))

    assert score(run).overshoot < delta


@pytest.mark.parametrize("curve", [STEP, REQUESTS, MISSING, RESTART, SLOW_START, STALE, RAMP], ids=lambda c: c.name)
def test_one_rise_and_fall_turns_once_and_ends_at_the_minimum(curve: Curve) -> None:
    run, _ = outcome(curve)

    assert score(run).turns == 1
    assert max(second.target for second in run) == max(second.needed for second in run)
    assert run[-1].target == POLICY.minimum


def test_jump_is_answered_within_a_window_and_followed_a_step_a_wait() -> None:
    """0.3 to 2.0 at 60 s needs four. A CPU at its limit does not say by how much it is short: each step is a new look.

    The window is over 0.6 for more than half after 20 s. Then start 5 s + settled 2 s (seen at the next look, 10 s) +
    wait 30 s make 40 s a step.
    """
    assert steps(STEP)[:3] == [(80, 2), (120, 3), (160, 4)]


def test_end_of_a_load_is_followed_step_by_step_as_soon_as_a_whole_window_is_low() -> None:
    assert steps(STEP)[3:] == [(690, 3), (725, 2), (760, 1)]


def test_larger_delta_reaches_the_needed_number_in_one_step() -> None:
    assert steps(STEP, replace(POLICY, increase_delta=3))[:1] == [(80, 4)]


@pytest.mark.parametrize("curve", [NOISE, SPIKE], ids=lambda curve: curve.name)
def test_noise_and_short_spikes_move_nothing(curve: Curve) -> None:
    assert steps(curve) == []


def test_noise_at_the_threshold_scales_once_and_stays() -> None:
    """0.62 on one is above 0.6, 0.31 on two is not below 0.2."""
    assert [target for _, target in steps(BORDER)] == [2]


def test_thresholds_too_close_to_each_other_do_not_flap() -> None:
    """0.35 on each of two is below 0.4, 0.70 on one would be above 0.6."""
    curve = Curve("between", 900, lambda t: 0.7, first=2)
    _, scaler = outcome(curve, replace(POLICY, lower=0.4))

    assert steps(curve, replace(POLICY, lower=0.4)) == []
    assert {told.rule for _, told in scaler.told[-50:]} == {Rule.WOULD_FLAP}


def test_sawtooth_is_followed_with_one_turn_up_and_one_down_a_tooth() -> None:
    run, _ = outcome(SAWTOOTH)

    assert score(run).turns <= 2 * 5


def test_wave_is_followed_with_one_turn_up_and_one_down_a_period() -> None:
    run, _ = outcome(WAVE)

    assert score(run).turns <= 2 * 3


def test_ramp_is_followed_without_ever_saturating() -> None:
    run, _ = outcome(RAMP)

    assert score(run).saturated == 0


def test_lost_samples_delay_no_step_up_and_cause_no_other() -> None:
    assert steps(MISSING)[:3] == steps(STEP)[:3]
    assert [target for _, target in steps(MISSING)] == [target for _, target in steps(STEP)]


def test_without_fresh_data_nothing_happens_and_with_it_scaling_goes_on() -> None:
    """From 80 s to 400 s nothing is measured, while three instances are missing."""
    _, scaler = outcome(STALE)
    blind = [told for t, told in scaler.told if 125 <= t < 400]

    assert {told.rule for told in blind} == {Rule.NO_DATA}
    assert not [t for t, _ in steps(STALE) if 95 < t < 405]
    assert [target for _, target in steps(STALE)] == [2, 3, 4, 3, 2, 1]


def test_restart_in_mid_wait_does_not_begin_the_wait_anew() -> None:
    """The step at 80 s ended at 90 s. Down from 95 s to 120 s: the next was due at 120 s, and is due at once then."""
    _, scaler = outcome(RESTART)
    first_look = next(told for t, told in scaler.told if t >= 120)

    assert first_look.wait_seconds == 0
    assert [target for _, target in steps(RESTART)] == [2, 3, 4, 3, 2, 1]
    assert steps(RESTART)[1][0] == 130  # two more looks, until three samples are there again


def test_restart_in_mid_wait_does_not_shorten_the_wait() -> None:
    short = replace(STEP, down=((95, 105),))
    _, scaler = outcome(short)

    assert {told.rule for t, told in scaler.told if 105 <= t < 120} == {Rule.WAITING}
    assert steps(short)[:2] == steps(STEP)[:2] == [(80, 2), (120, 3)]


def test_instance_that_starts_slowly_is_waited_for() -> None:
    """A minute each: no second step before the first one's instance has shown what it takes over."""
    gaps = [b - a for (a, _), (b, _) in pairwise(steps(SLOW_START)[:3])]

    assert all(gap >= 60 + POLICY.wait_seconds for gap in gaps)
    assert max(target for _, target in steps(SLOW_START)) == 4


@pytest.mark.parametrize("wait", [0, 60])
def test_steps_are_never_closer_than_the_wait_period(wait: int) -> None:
    for curve in ALL:
        times = [t for t, _ in steps(curve, replace(POLICY, wait_seconds=float(wait)))]

        assert all(b - a >= wait for a, b in pairwise(times)), curve.name


@pytest.mark.parametrize("curve", ALL, ids=lambda curve: curve.name)
def test_no_wait_period_still_does_not_flap(curve: Curve) -> None:
    """What protects is that only values from after the last action count."""
    run, _ = outcome(curve, replace(POLICY, wait_seconds=0.0))

    assert score(run).turns <= (10 if curve is SAWTOOTH else 6 if curve is WAVE else 1)
    assert score(run).overshoot == 0


def test_recommendations_of_a_whole_run_are_the_same_each_time() -> None:
    runs = [Skylark(), Skylark()]
    for scaler in runs:
        World(MISSING, POLICY).run(scaler)

    assert runs[0].told == runs[1].told


def test_every_recommendation_of_every_run_gives_a_reason() -> None:
    for curve in ALL:
        _, scaler = outcome(curve)

        assert all(told.reason for _, told in scaler.told)
