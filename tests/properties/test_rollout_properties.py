"""What a rollout never does and where it always ends, over random histories of deploys, deaths and counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.actions import Rollback
from orchestrator.planner import plan
from orchestrator.rollout import surge
from orchestrator.state import Phase
from tests.support.rollout_world import CRASHES, GOOD, KINDS, NEVER_READY, UNREADY_LATER, RolloutWorld, kind_of

HISTORIES = st.lists(
    st.one_of(
        st.tuples(st.just("deploy"), st.sampled_from(KINDS)),
        st.tuples(st.just("deploy"), st.sampled_from(KINDS)),
        st.tuples(st.just("kill"), st.integers(0, 9)),
        st.tuples(st.just("scale"), st.integers(1, 6)),
        st.tuples(st.just("steps"), st.integers(1, 40)),
        st.tuples(st.just("steps"), st.integers(1, 5)),
    ),
    max_size=12,
)


def careful_step(world: RolloutWorld) -> None:
    """A step that breaks no promise: of what it does at once, not of what happens by itself meanwhile."""
    after, count = world.at_once(), world.desired.count
    if world.desired.stateful:
        assert all(after.holders(slot) <= 1 for slot in range(count)), "two instances on one volume"
    else:
        assert after.ready_slots() >= world.ready_slots(), "the rollout itself took a ready slot away"
        assert after.surplus() <= max(surge(count), world.surplus()), "more than the surge"
    rollbacks = world.rollbacks
    planned = world.step()
    assert world.rollbacks == rollbacks or planned.actions[0] == planned.actions[-1], "a rollback stands alone"
    assert world.rollbacks <= 1, "flaps"


def happen(world: RolloutWorld, kind: str, value: Any) -> None:
    match kind:
        case "deploy":
            world.deploy(value)
        case "scale":
            world.scale(value)
        case "kill":
            running = [i.uuid for i in world.instances.values() if i.phase is Phase.RUNNING]
            if running:
                world.kill(running[value % len(running)])
        case "steps":
            for _ in range(value):
                careful_step(world)


def run_to_the_end(world: RolloutWorld) -> None:
    for _ in range(2000):
        if world.quiet():
            return
        careful_step(world)
    raise AssertionError(f"does not end: {world.desired} {world.observed()}")


def check_ended(world: RolloutWorld) -> None:
    """On what was asked for, or on what was good, with the reason; and it stays there."""
    desired = world.desired
    ran_out = desired.rollout_failure != ""
    assert ran_out == (world.rollbacks == 1)
    assert ran_out or desired.revision.fingerprint == world.deployed
    if kind_of(desired.revision.fingerprint or "") == GOOD:
        assert sorted(i.slot for i in world.instances.values()) == list(range(desired.count))
        assert {i.fingerprint for i in world.instances.values()} == {desired.revision.fingerprint}
        assert all(i.ready for i in world.instances.values())
    for _ in range(3):
        world.wait(1000)
        assert plan(world.desired, world.observed(), world.now).actions == ()
    assert world.desired.rollout_failure == desired.rollout_failure


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6), st.booleans(), HISTORIES, st.integers(0, 99))
def test_any_history_keeps_floor_and_surge_and_ends(
    count: int, stateful: bool, history: list[tuple[str, Any]], seed: int
) -> None:
    world = RolloutWorld(count, stateful=stateful, seed=seed)

    for kind, value in history:
        happen(world, kind, value)
    run_to_the_end(world)

    check_ended(world)


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("kind", [CRASHES, NEVER_READY, UNREADY_LATER])
def test_bad_deploy_ends_on_the_good_revision_with_its_reason(kind: str, count: int, stateful: bool) -> None:
    world = RolloutWorld(count, stateful=stateful, seed=0)
    world.deploy(kind)
    fewest = count

    while not world.quiet():
        careful_step(world)
        fewest = min(fewest, world.ready_slots())

    check_ended(world)
    if kind != UNREADY_LATER:  # one that is good for long enough may be taken for good
        assert world.rollbacks == 1
        assert kind_of(world.desired.revision.fingerprint or "") == GOOD
        assert fewest == (count - 1 if stateful else count)


@pytest.mark.parametrize("stateful", [False, True])
def test_deploy_in_mid_rollout_supersedes_it_without_a_third_instance_in_a_slot(stateful: bool) -> None:
    world = RolloutWorld(2, stateful=stateful, seed=0)
    for kind in (NEVER_READY, NEVER_READY, GOOD):
        world.deploy(kind)
        for _ in range(6):
            careful_step(world)
            assert world.surplus() <= (0 if stateful else 1)

    run_to_the_end(world)

    check_ended(world)
    assert world.rollbacks == 0
    assert world.desired.revision.fingerprint == world.deployed


def test_rollback_is_the_only_action_of_its_step() -> None:
    world = RolloutWorld(3, stateful=False, seed=1)
    world.deploy(CRASHES)
    told = []
    while not world.quiet():
        told.append(world.step().actions)

    (step,) = [actions for actions in told if any(isinstance(a, Rollback) for a in actions)]
    assert len(step) == 1
