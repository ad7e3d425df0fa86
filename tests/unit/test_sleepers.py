"""Services that scale to zero, over rounds and passes: when they sleep, what wakes them, and as what they wake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.rig import IMAGE
from tests.support.scaling import AUTO, WEB, ScalingRig


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[ScalingRig]:
    made = ScalingRig(sqlite_url, tmp_path)
    yield made
    made.close()


def fall_asleep(rig: ScalingRig) -> str:
    """A service that nobody asks, until it sleeps; its uuid."""
    made = rig.auto(ports=[WEB], minimum_num_instances=0, idle_seconds=30)
    for _ in range(20):
        rig.round(requests=0)
        if rig.service().count == 0:
            rig.converge()
            assert rig.ids() == {}
            return made.uuid
    raise AssertionError(f"awake: {rig.kept()}")


def ask(rig: ScalingRig, uuid: str) -> None:
    """A request waits in the proxy."""
    rig.asked = {uuid}
    rig.autoscaler.run_round([uuid])


def test_new_image_of_a_sleeper_is_what_wakes(rig: ScalingRig) -> None:
    """However long ago it was deployed: the time to get somewhere begins with the first instance."""
    uuid = fall_asleep(rig)
    rig.engine.world.push(f"{IMAGE}:2", "2")
    rig.change(image_tag="2")
    rig.converge()
    rig.after(600)
    deployed = rig.service().revision

    ask(rig, uuid)
    rig.converge()

    assert rig.status() == ("Running", "1 of 1 instance running")
    assert rig.service().revision == deployed
    assert rig.events("rollout_failed") == []


def test_new_image_of_a_service_at_zero_is_what_starts(rig: ScalingRig) -> None:
    rig.create()
    rig.converge()
    rig.change(target_num_instances=0)
    rig.converge()
    rig.engine.world.push(f"{IMAGE}:2", "2")
    rig.change(image_tag="2")
    rig.converge()
    rig.after(600)

    rig.change(target_num_instances=1)
    rig.converge()

    assert rig.status() == ("Running", "1 of 1 instance running")
    assert rig.events("rollout_failed") == []


def test_demand_before_the_service_could_sleep_counts(rig: ScalingRig) -> None:
    """Asked a minute ago while MANUAL, allowed to sleep after five of silence."""
    rig.create(instance_ports=[WEB])
    rig.converge()
    for _ in range(12):
        rig.round(requests=0)
    rig.change(scaling_mode="AUTO", autoscaling_config=AUTO | {"minimum_num_instances": 0, "idle_seconds": 300})

    assert set(rig.rounds(50, requests=0)) == {1}
    assert 0 in rig.rounds(20, requests=0)


def test_demand_while_nobody_watched_is_not_ruled_out(rig: ScalingRig) -> None:
    """No worker for an hour, say: what came then is not known, so the silence begins anew."""
    rig.auto(ports=[WEB], minimum_num_instances=0, idle_seconds=300)
    rig.rounds(10, requests=1)
    rig.after(3600)

    assert set(rig.rounds(50, requests=0)) == {1}


def test_demand_of_a_service_that_never_sleeps_is_not_made_up(rig: ScalingRig) -> None:
    rig.auto()
    rig.round()

    assert rig.kept()["demand_at"] is None


@pytest.mark.parametrize("everywhere", [True, False])
def test_sleeper_is_woken_in_a_dry_run_too(rig: ScalingRig, everywhere: bool) -> None:
    """A dry run takes nothing away; whoever sleeps already would be refused for ever."""
    uuid = fall_asleep(rig)
    if everywhere:
        rig.settings = replace(rig.settings, autoscaling_dry_run=True)
        rig.new_autoscaler()
    else:
        config = AUTO | {"minimum_num_instances": 0, "idle_seconds": 30, "dry_run": True}
        rig.change(autoscaling_config=config)
    ask(rig, uuid)
    rig.converge()

    assert rig.status() == ("Running", "1 of 1 instance running")
    assert rig.kept()["action"] == {"before": 0, "after": 1}
    rig.asked = set()
    assert set(rig.rounds(20, requests=0)) == {1}
    assert rig.told()[-1].kind == "autoscaling_dry_run"
