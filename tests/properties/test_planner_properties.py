"""The planner's promises over random situations: what it never does, and that it always arrives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.actions import Launch, Plan, Pull, Purge, ReleaseVolumes, Remove, Stop
from orchestrator.planner import plan, target_revision
from orchestrator.rollout import is_settled
from orchestrator.state import Desired, Health, Instance, Observed, Phase, Retry, Revision
from tests.support.world import LEAVING, LIVING, NOW, OLD, UNRESOLVED, WANTED, World, later

ANCIENT = replace(OLD, number=0, image_id="sha256:00", fingerprint="000000000000")
SECONDS = st.floats(-1000, 1000).map(later)
RETRIES = st.builds(Retry, st.integers(0, 9), st.none() | SECONDS, st.just("exit code 1"))


@st.composite
def instances(draw: st.DrawFn, stateful: bool) -> tuple[Instance, ...]:
    """Up to eight instances in any state; those of a stateful service share a slot only when one has ended."""
    found: list[Instance] = []
    for number in range(draw(st.integers(0, 8))):
        phase = draw(st.sampled_from([p for p in Phase if p is not Phase.GONE] + [Phase.RUNNING] * 4))
        slot = draw(st.integers(0, 5))
        holding = LIVING | LEAVING
        if stateful and phase in holding and any(i.slot == slot and i.phase in holding for i in found):
            continue
        has_container = phase not in (Phase.PENDING, Phase.VANISHED) or (phase is Phase.PENDING and draw(st.booleans()))
        ran = phase not in (Phase.PENDING, Phase.CREATED)
        found.append(
            Instance(
                uuid=f"i{number}",
                slot=slot,
                fingerprint=draw(st.sampled_from([WANTED, WANTED, OLD, ANCIENT])).fingerprint or "",
                phase=phase,
                health=draw(st.sampled_from([Health.NONE, Health.NONE, *Health])),
                container_id=f"c{number}" if has_container else None,
                created_at=later(-number),
                started_at=draw(st.floats(-700, 0).map(later)) if ran else None,
                reason=draw(st.sampled_from(["", "exit code 1"])) if phase is not Phase.STOPPING else "scaled to 1",
                busy=draw(st.integers(0, 4)) == 0,
            )
        )
    return tuple(found)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Desired, Observed]:
    stateful = draw(st.booleans())
    deleted = draw(st.integers(0, 9)) == 0
    wanted: Revision = draw(st.sampled_from([WANTED, WANTED, UNRESOLVED]))
    desired = Desired(
        service_uuid="s",
        name="web",
        namespace="ns",
        generation=1,
        started=not deleted and draw(st.integers(0, 4)) > 0,
        deleted=deleted,
        count=draw(st.integers(0, 5)),
        stateful=stateful,
        revision=wanted,
        fallback=draw(st.sampled_from([None, OLD])) if wanted.image_id is None else None,
        recheck_image=draw(st.booleans()),
        image_missing=draw(st.integers(0, 5)) == 0,
        pull=draw(RETRIES),
    )
    observed = Observed(
        instances=draw(instances(stateful)),
        slots=draw(st.dictionaries(st.integers(0, 5), RETRIES, max_size=4)),
        pulling=draw(st.integers(0, 5)) == 0,
        volumes_left=draw(st.booleans()),
    )
    return desired, observed


def fingerprint_of(desired: Desired) -> str | None:
    revision = target_revision(desired)
    return revision.fingerprint if revision else None


def check_safe(desired: Desired, observed: Observed, planned: Plan, now: Any) -> None:
    """What no plan may do, whatever the situation."""
    launches = [a for a in planned.actions if isinstance(a, Launch)]
    touched = [a.instance_uuid for a in planned.actions if not isinstance(a, Launch | Pull | Purge | ReleaseVolumes)]
    by_uuid = {i.uuid: i for i in observed.instances}
    assert all(a.reason.strip() for a in planned.actions)
    assert max(Counter(touched).values(), default=0) <= 1, "two actions on one instance"
    assert max(Counter(a.slot for a in launches).values(), default=0) <= 1, "two launches for one slot"
    assert not any(by_uuid[uuid].busy for uuid in touched), "acts on a busy instance"
    assert len(launches) <= (desired.count if desired.started else 0)
    assert sum(isinstance(a, Pull) for a in planned.actions) <= (0 if observed.pulling or not desired.started else 1)
    for launch in launches:
        assert 0 <= launch.slot < desired.count
        here = [i for i in observed.instances if i.slot == launch.slot]
        assert not any(i.phase in LIVING and i.fingerprint == fingerprint_of(desired) for i in here)
        if desired.stateful:
            assert not any(i.phase in LIVING | LEAVING for i in here), "two instances on one volume"
        retry = observed.slots.get(launch.slot, Retry())
        assert retry.retry_at is None or retry.retry_at <= now
    for action in planned.actions:
        if isinstance(action, Stop | Remove):
            check_end(desired, observed, by_uuid[action.instance_uuid], set(touched), now)
    if planned.wake_at is not None:
        assert planned.wake_at > now, "wakes in the past: a busy loop"


def check_end(desired: Desired, observed: Observed, ended: Instance, touched: set[str], now: Any) -> None:
    """A stateless service's ready outdated instance serves on until the new one in its slot is settled.

    Of several outdated ones (a deploy superseded another) one is enough to serve on.
    """
    if not desired.started or desired.stateful or ended.slot >= desired.count or not ended.ready:
        return
    others = [i for i in observed.instances if i.slot == ended.slot and i.uuid != ended.uuid and i.phase in LIVING]
    if ended.fingerprint != fingerprint_of(desired):
        settled = any(i.fingerprint == fingerprint_of(desired) and is_settled(i, now) for i in others)
        assert settled or any(i.ready and i.uuid not in touched for i in others), "nobody serves on"
    else:
        assert any(i.ready and i.fingerprint == ended.fingerprint for i in others), "ends the only good one"


@settings(max_examples=400, deadline=None)
@given(situations())
def test_any_situation_plans_only_what_is_safe(situation: tuple[Desired, Observed]) -> None:
    desired, observed = situation

    check_safe(desired, observed, plan(desired, observed, NOW), NOW)


@settings(max_examples=100, deadline=None)
@given(situations())
def test_unreachable_engine_plans_nothing(situation: tuple[Desired, Observed]) -> None:
    desired, observed = situation
    blind = replace(observed, reachable=False, trouble="no answer")

    assert plan(desired, blind, NOW) == Plan(waiting=("no answer",))


@settings(max_examples=100, deadline=None)
@given(situations())
def test_planning_twice_gives_the_same_plan(situation: tuple[Desired, Observed]) -> None:
    desired, observed = situation

    assert plan(desired, observed, NOW) == plan(desired, observed, NOW)


def run_to_the_end(world: World) -> None:
    """Step until quiet, each step safe."""
    for _ in range(3000):
        remove_what_the_engine_removes(world)
        heal_what_stays_sick(world)
        if world.quiet():
            return
        before, now, desired = world.observed(), world.now, world.desired
        check_safe(desired, before, world.step(), now)
        if world.purged:
            return
    raise AssertionError(f"not quiet: {world.observed()}")


def remove_what_the_engine_removes(world: World) -> None:
    for uuid in [i.uuid for i in world.instances.values() if i.phase is Phase.REMOVING and not i.busy]:
        del world.instances[uuid]


def heal_what_stays_sick(world: World) -> None:
    for i in [i for i in world.instances.values() if i.phase is Phase.RUNNING and i.health is Health.STARTING]:
        world.instances[i.uuid] = replace(i, health=Health.HEALTHY)


def check_arrived(world: World) -> None:
    desired = world.desired
    assert plan(desired, world.observed(), world.now) == Plan() or world.purged
    if desired.deleted:
        assert world.purged
        assert not world.instances
    elif not desired.started:
        assert not world.instances
    else:
        assert sorted(i.slot for i in world.instances.values()) == list(range(desired.count))
        assert all(i.ready and i.fingerprint == WANTED.fingerprint for i in world.instances.values())


@settings(max_examples=120, deadline=None)
@given(situations(), st.integers(0, 99), st.integers(0, 6), st.integers(0, 6))
def test_applying_plans_arrives_at_what_is_wanted(
    situation: tuple[Desired, Observed], seed: int, crashes: int, pull_faults: int
) -> None:
    world = World(*situation, seed=seed)
    world.crashes, world.pull_faults = crashes, pull_faults

    run_to_the_end(world)

    check_arrived(world)


@settings(max_examples=120, deadline=None)
@given(situations(), st.integers(0, 99), st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=8))
def test_kills_and_vanishings_in_between_change_nothing_of_the_end(
    situation: tuple[Desired, Observed], seed: int, blows: list[tuple[int, bool]]
) -> None:
    world = World(*situation, seed=seed)
    for steps, vanish in blows:
        for _ in range(steps):
            if not world.quiet() and not world.purged:
                before, now, desired = world.observed(), world.now, world.desired
                check_safe(desired, before, world.step(), now)
        running = [i.uuid for i in world.instances.values() if i.phase is Phase.RUNNING]
        if running:
            world.kill(running[steps % len(running)], Phase.VANISHED if vanish else Phase.EXITED)

    if not world.purged:
        run_to_the_end(world)

    check_arrived(world)


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_rollout_keeps_its_promised_number_ready(stateful: bool, count: int) -> None:
    """Stateless: never fewer than before. Stateful: never more than one missing."""
    old = tuple(
        Instance(f"old{n}", n, OLD.fingerprint or "", Phase.RUNNING, container_id=f"c{n}", started_at=later(-60))
        for n in range(count)
    )
    desired = Desired("s", "web", "ns", 1, True, False, count, stateful, WANTED)
    world = World(desired, Observed(old))
    fewest = count

    while not world.quiet():
        world.step()
        fewest = min(fewest, len({i.slot for i in world.instances.values() if i.ready}))

    check_arrived(world)
    assert fewest == (count - 1 if stateful else count)
