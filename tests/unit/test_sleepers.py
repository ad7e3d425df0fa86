"""Services that scale to zero, over rounds and passes: when they sleep, what wakes them, and as what they wake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rig import IMAGE
from tests.support.scaling import WEB, ScalingRig


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
