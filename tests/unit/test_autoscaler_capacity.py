"""The autoscaler on a host that is full: places are promised once, and what the host refuses is given up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.metrics.samples import Reading, Sample
from orchestrator.policy import milliseconds
from orchestrator.store.autoscaling import Autoscaling
from tests.support.scaling import AUTO, CPU_LIMIT, MEMORY_LIMIT, SECONDS, ScalingRig
from worker.room import Room


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[ScalingRig]:
    made = ScalingRig(sqlite_url, tmp_path, capacity_instances=3)
    room = Room(made.sessions, made.settings, lambda url: made.free_bytes, lambda uuid: 0, lambda: made.now.timestamp())
    made.new_autoscaler(room=room)
    yield made
    made.close()


def create(rig: ScalingRig, *names: str, count: int = 1) -> None:
    for name in names:
        rig.create(name, target_num_instances=count, scaling_mode="AUTO", autoscaling_config=AUTO)
    rig.converge()


def rounds(rig: ScalingRig, number: int, loads: Mapping[str, float]) -> None:
    """So many rounds, with this load on each service."""
    for _ in range(number):
        rig.now += timedelta(seconds=SECONDS)
        rig.run_pass()
        rig.run_pass()
        for name, cpu in loads.items():
            for row in rig.instances(name):
                reading = Reading(milliseconds(rig.now), 0, 100)
                used = Sample(row.service_uuid, row.uuid, reading, cpu * CPU_LIMIT, CPU_LIMIT, MEMORY_LIMIT)
                rig.windows.use.append(used)
        rig.autoscaler.run_round()


def test_last_place_is_promised_to_one_of_two(rig: ScalingRig) -> None:
    create(rig, "one", "two")
    rounds(rig, 10, {"one": 0.4, "two": 0.4})
    rounds(rig, 10, {"one": 0.9, "two": 0.9})

    assert sorted(rig.service(name).count for name in ("one", "two")) == [1, 2]
    assert {rig.status(name)[0] for name in ("one", "two")} == {"Running"}
    (held,) = [event for event in rig.told() if event.kind == "autoscaling_held"]
    assert "limited by capacity: 2 of 3 instances are there" in held.reason


def test_target_that_the_host_refuses_is_given_up_and_the_service_scales_on(rig: ScalingRig) -> None:
    """An instance dies, and another service takes its place before it is back."""
    create(rig, "one", count=3)
    rounds(rig, 10, {"one": 0.4})
    rig.engine.die(rig.containers()[rig.instances("one")[2].uuid].id)
    rig.settings = replace(rig.settings, capacity_instances=2)
    rig.restart()
    rig.converge()
    assert rig.status("one")[0] == "PartialRunning"

    rounds(rig, 1, {"one": 0.4})
    rig.converge()

    assert rig.status("one") == ("Running", "2 of 2 instances running")
    told = rig.told()[-1]
    assert (told.kind, told.data["rule"]) == ("autoscaled", "limited_by_capacity")
    assert "1 of 3 not taken: 3 -> 2" in told.reason
    rounds(rig, 30, {"one": 0.01})
    assert rig.service("one").count == 1


def test_number_that_the_user_named_is_not_given_up(rig: ScalingRig) -> None:
    create(rig, "one")
    rig.change("one", target_num_instances=4)
    rig.converge()
    rounds(rig, 5, {"one": 0.4})

    assert rig.service("one").count == 4
    assert rig.status("one")[1].startswith("limited by capacity")


def test_service_that_scales_no_more_leaves_no_evaluation_behind(rig: ScalingRig) -> None:
    create(rig, "one")
    rounds(rig, 3, {"one": 0.4})
    rig.change("one", scaling_mode="MANUAL")
    rounds(rig, 1, {})

    with rig.sessions() as session:
        assert Autoscaling(session).last_round() == {}
