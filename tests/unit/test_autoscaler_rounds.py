"""Rounds of the autoscaler on a real database: it acts, waits, remembers, gives way to the user, and says why."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.autoscaler import Policy, Recommendation, Rule, Samples, ScaleState
from orchestrator.store.schema import HeartbeatRow
from tests.support.poll import eventually
from tests.support.scaling import AUTO, WEB, ScalingRig

FULL_WINDOW = 10  # rounds: warm-up and window are long over


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[ScalingRig]:
    made = ScalingRig(sqlite_url, tmp_path)
    yield made
    made.close()


def until_scaled(rig: ScalingRig, cpu: float, most: int = 30) -> int:
    """Rounds with this load until the count moves; the new one."""
    before = rig.service().count
    for _ in range(most):
        rig.round(cpu)
        if rig.service().count != before:
            return rig.service().count
    raise AssertionError(f"still {before}: {rig.kept()}")


def test_load_moves_the_target_and_its_end_moves_it_back(rig: ScalingRig) -> None:
    made = rig.auto()
    rig.rounds(FULL_WINDOW)

    assert until_scaled(rig, 0.9) == 2
    assert rig.moved == [made.uuid]
    rig.round(0.4)
    assert len(rig.ids()) == 2
    rig.rounds(FULL_WINDOW, 0.4)
    assert until_scaled(rig, 0.01) == 1
    rig.round(0.01)
    assert len(rig.ids()) == 1
    assert rig.service().generation == made.generation
    assert rig.service().spec == made.spec


def test_change_is_an_event_with_its_numbers(rig: ScalingRig) -> None:
    rig.auto()
    rig.rounds(FULL_WINDOW)
    until_scaled(rig, 0.9)

    told = [event for event in rig.told() if event.kind == "autoscaled"]
    assert len(told) == 1
    assert told[0].reason.endswith("is above 0.6: 1 -> 2")
    data = dict(told[0].data)
    assert (data["before"], data["after"], data["rule"]) == (1, 2, "scale_up")
    assert (data["metric"], data["statistic"], data["lower"], data["upper"]) == ("CPU_UTILIZATION", "MEAN", 0.2, 0.6)
    assert data["value"] > 0.6
    assert data["window_seconds"] == 30.0


def test_without_a_service_that_scales_nothing_is_read_or_written(rig: ScalingRig) -> None:
    rig.create()
    rig.converge()
    rig.autoscaler.run_round()  # it may have to clear away what was kept of some that did
    rig.statements.clear()
    rig.autoscaler.run_round()

    queries = [statement for statement in rig.statements if statement.startswith(("SELECT", "INSERT", "UPDATE"))]
    assert len(queries) == 1
    assert rig.windows.reads == 0


def test_windows_of_all_services_are_read_at_once(rig: ScalingRig) -> None:
    for name in ("a", "b", "c"):
        rig.create(name, scaling_mode="AUTO", autoscaling_config=AUTO)
    rig.converge()
    rig.autoscaler.run_round()

    assert rig.windows.reads == 1


def test_count_outside_the_bounds_is_corrected_at_once(rig: ScalingRig) -> None:
    rig.auto(6)
    rig.autoscaler.run_round()

    assert rig.service().count == 4
    assert rig.told()[-1].data["rule"] == "above_maximum"


def test_wait_period_runs_from_the_end_of_the_action(rig: ScalingRig) -> None:
    rig.auto()
    rig.rounds(FULL_WINDOW)
    until_scaled(rig, 0.9)
    acted_at = rig.service().scaled_at
    assert rig.service().last_autoscaled_at == acted_at

    rig.round(0.9)

    after = rig.service()
    assert (after.scaled_at, after.last_autoscaled_at) == (rig.now, rig.now)
    assert acted_at is not None
    assert rig.now > acted_at
    assert rig.kept()["wait_seconds"] == 30.0


def test_restart_in_mid_wait_waits_for_the_rest_only(rig: ScalingRig) -> None:
    rig.auto(wait_period=60)
    rig.rounds(FULL_WINDOW)
    until_scaled(rig, 0.9)
    rig.rounds(5, 0.9)
    waiting = rig.kept()["wait_seconds"]

    rig.restart()
    rig.new_autoscaler()
    rig.round(0.9)

    assert rig.kept()["rule"] == "waiting"
    assert rig.kept()["wait_seconds"] == waiting - 5
    events = len(rig.told())
    rig.round(0.9)
    assert len(rig.told()) == events  # what was told before the restart is not told again


def test_clock_that_went_back_costs_one_wait_period_at_most(rig: ScalingRig) -> None:
    rig.auto()
    rig.rounds(FULL_WINDOW)
    until_scaled(rig, 0.9)
    rig.round(0.9)
    rig.now -= timedelta(hours=3)
    rig.windows.use.clear()

    counts = rig.rounds(20, 0.9)

    assert counts[0] == 2
    assert counts[-1] > 2


def test_users_number_wins_and_restarts_the_wait_period(rig: ScalingRig) -> None:
    rig.auto(wait_period=60)
    rig.rounds(FULL_WINDOW)
    until_scaled(rig, 0.9)
    rig.rounds(3, 0.9)

    rig.change(target_num_instances=4)
    assert rig.service().count == 4
    counts = rig.rounds(8, 0.01)

    assert set(counts) == {4}
    assert rig.kept()["rule"] == "waiting"


def test_users_write_during_a_round_wins(rig: ScalingRig) -> None:
    made = rig.auto()
    rig.rounds(FULL_WINDOW)

    def decide(policy: Policy, samples: Samples, state: ScaleState, now: Any) -> Recommendation:
        rig.change(target_num_instances=3)
        return Recommendation(2, Rule.SCALE_UP, "up")

    rig.new_autoscaler(decide=decide)
    rig.moved.clear()
    rig.autoscaler.run_round()

    assert rig.service().count == 3
    assert rig.moved == []
    assert [event.kind for event in rig.told()] == []
    assert rig.service().uuid == made.uuid


@pytest.mark.parametrize("by", ["service", "installation"])
def test_dry_run_says_what_it_would_do_and_does_nothing(
    rig: ScalingRig, by: str, sqlite_url: str, tmp_path: Path
) -> None:
    if by == "installation":
        rig.settings = type(rig.settings)(home=tmp_path, installation="test", autoscaling_dry_run=True)
        rig.new_autoscaler()
    rig.auto(dry_run=by == "service")
    rig.rounds(FULL_WINDOW)
    counts = rig.rounds(10, 0.9)

    assert set(counts) == {1}
    assert rig.moved == []
    told = rig.told()
    assert [event.kind for event in told] == ["autoscaling_dry_run"]
    assert (told[0].data["before"], told[0].data["after"]) == (1, 2)
    assert rig.kept()["action"] == {"before": 1, "after": 2}
    assert rig.kept()["dry_run"] is True


def test_limit_is_told_once(rig: ScalingRig) -> None:
    rig.auto(4)
    rig.rounds(FULL_WINDOW)
    rig.rounds(20, 0.9)

    assert [(event.kind, event.data["rule"]) for event in rig.told()] == [("autoscaling_held", "limited")]
    assert rig.kept()["limited"] is True


def test_value_swinging_around_the_threshold_at_the_bound_is_told_once(rig: ScalingRig) -> None:
    rig.auto(4)
    rig.rounds(FULL_WINDOW)
    for _ in range(3):
        rig.rounds(7, 0.9)
        rig.rounds(4, 0.1)

    assert [event.data["rule"] for event in rig.told()] == ["limited"]


def test_host_without_room_limits(rig: ScalingRig) -> None:
    rig.auto()
    rig.room = (0, "100 MB of memory left, an instance needs 512")
    rig.rounds(FULL_WINDOW)
    rig.rounds(FULL_WINDOW, 0.9)

    assert rig.service().count == 1
    assert [(event.kind, event.data["rule"]) for event in rig.told()] == [("autoscaling_held", "limited_by_capacity")]
    assert "100 MB of memory left" in rig.told()[0].reason


def test_store_that_fails_holds_and_is_told_once(rig: ScalingRig, caplog: pytest.LogCaptureFixture) -> None:
    rig.auto()
    rig.rounds(FULL_WINDOW)
    rig.windows.fault = OSError("disk is gone")
    with caplog.at_level(logging.INFO, "skylark.autoscaler"):
        counts = rig.rounds(5, 0.9)
        rig.windows.fault = None
        rig.round(0.4)

    assert set(counts) == {1}
    assert [said for record in caplog.records if (said := record.getMessage()).startswith("the autoscaler")] == [
        "the autoscaler holds: what was measured can't be read: disk is gone",
        "the autoscaler goes on",
    ]


def test_engine_that_is_gone_leaves_the_service_unsettled(rig: ScalingRig) -> None:
    rig.auto()
    rig.rounds(FULL_WINDOW)
    url = rig.settings.regions["SHANGHAI1"].engine_url
    with rig.sessions.begin() as session:
        session.add(HeartbeatRow(name=f"engine:{url}", at=rig.now, trouble="connection refused"))
    counts = rig.rounds(8, 0.9)

    assert set(counts) == {1}
    assert rig.kept()["rule"] == "not_settled"
    assert rig.kept()["unsettled"] == "the engine can't be reached: connection refused"


def test_broken_evaluation_of_one_service_does_not_touch_the_others(rig: ScalingRig) -> None:
    broken = rig.create("broken", scaling_mode="AUTO", autoscaling_config=AUTO | {"maximum_num_instances": 9})
    rig.auto(6)

    def decide(policy: Policy, samples: Samples, state: ScaleState, now: Any) -> Recommendation:
        if policy.maximum == 9:
            raise ZeroDivisionError
        return Recommendation(policy.maximum, Rule.ABOVE_MAXIMUM, "above")

    rig.new_autoscaler(decide=decide)
    rig.autoscaler.run_round()

    assert rig.service().count == 4
    assert rig.service("broken").count == broken.count


def test_requests_per_instance_scale(rig: ScalingRig) -> None:
    rig.auto(2, ports=[WEB], metric_name="REQUESTS_PER_SECOND", lower_threshold=1, upper_threshold=10)
    for _ in range(FULL_WINDOW):
        rig.round(requests=80)  # in 5 s on 2 instances: 8 requests/s each
    assert rig.kept()["value"] == 8.0
    for _ in range(FULL_WINDOW):
        rig.round(requests=120)

    assert rig.service().count == 3
    assert "REQUESTS_PER_SECOND" in next(e for e in rig.told() if e.kind == "autoscaled").reason


def test_sleeper_goes_when_nobody_asked_and_wakes_for_a_request(rig: ScalingRig) -> None:
    made = rig.auto(ports=[WEB], minimum_num_instances=0, idle_seconds=60)
    rig.rounds(4, 0.4, requests=1)
    assert set(rig.rounds(11, 0.4, requests=0)) == {1}
    assert rig.rounds(4, 0.4, requests=0)[-1] == 0
    assert rig.told()[-1].data["rule"] == "sleep"
    rig.run_pass()
    rig.run_pass()
    assert rig.ids() == {}

    rig.asked = {made.uuid}
    rig.autoscaler.run_round([made.uuid])

    assert rig.service().count == 1
    assert rig.told()[-1].data["rule"] == "wake"


def test_last_demand_is_remembered_beyond_the_window_and_a_restart(rig: ScalingRig) -> None:
    rig.auto(ports=[WEB], minimum_num_instances=0, idle_seconds=120)
    rig.rounds(20, 0.4, requests=0)
    rig.rounds(2, 0.4, requests=1)
    rig.rounds(10, 0.4, requests=0)
    rig.new_autoscaler()

    assert set(rig.rounds(12, 0.4, requests=0)) == {1}
    assert rig.rounds(4, 0.4, requests=0)[-1] == 0


def test_nobody_sleeps_while_the_proxy_says_nothing(rig: ScalingRig) -> None:
    rig.auto(ports=[WEB], minimum_num_instances=0, idle_seconds=30)

    assert set(rig.rounds(20, 0.4)) == {1}


def test_request_evaluates_on_a_thread_of_its_own(rig: ScalingRig) -> None:
    made = rig.auto(6)
    rig.autoscaler.start()
    try:
        rig.autoscaler.request(made.uuid)
        eventually(lambda: rig.service().count == 4)
    finally:
        rig.autoscaler.stop()


def test_replaced_instance_is_no_surge_of_requests(rig: ScalingRig) -> None:
    """Two share 90 requests/s; one is replaced, and what it carried is not known any more."""
    limits = {"lower_threshold": 1, "upper_threshold": 60}
    rig.auto(2, ports=[WEB], metric_name="REQUESTS_PER_SECOND", metric_stat="MAX", **limits)
    rig.rounds(FULL_WINDOW, requests=450)
    rig.engine.die(next(container.id for container in rig.containers().values()))
    rig.run_pass()
    rig.converge()

    assert rig.rounds(FULL_WINDOW, requests=450) == [2] * FULL_WINDOW
    assert rig.kept()["value"] == 45.0
