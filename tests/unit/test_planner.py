"""The planner by tables: a situation, and the one step that follows from it, with its reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.actions import Action, Forget, Launch, Plan, Pull, Purge, ReleaseVolumes, Remove, Resume, Stop
from orchestrator.planner import plan, target_revision
from orchestrator.state import Desired, Health, Observed, Phase, Retry
from tests.support.world import NOW, OLD, UNRESOLVED, WANTED, desired, instance, later, observed

LOST = "the engine lost the image"
TWO = (instance(0), instance(1))
OLDS = (instance(0, revision=OLD), instance(1, revision=OLD))
FRESH: dict[str, Any] = {"started_at": later(-0.5)}  # not settled yet


def case(wanted: Desired, seen: Observed, *actions: Action, name: str) -> Any:
    return pytest.param(wanted, seen, actions, id=name)


STARTED = [
    case(desired(), observed(*TWO), name="converged: nothing"),
    case(desired(count=0), observed(), name="none wanted: nothing"),
    case(
        desired(),
        observed(),
        Launch(0, 2, "slot 0 has no instance"),
        Launch(1, 2, "slot 1 has no instance"),
        name="image known: all at once",
    ),
    case(
        desired(revision=UNRESOLVED),
        observed(),
        Pull("registry.example/web:2", "deploy of revision 2"),
        name="first deploy: only the pull",
    ),
    case(desired(revision=UNRESOLVED), observed(pulling=True), name="pull under way: nothing"),
    case(
        desired(revision=UNRESOLVED, pull=Retry(2, later(8), "denied")), observed(), name="failed pull waits: nothing"
    ),
    case(
        desired(revision=UNRESOLVED, pull=Retry(2, NOW, "denied")),
        observed(),
        Pull("registry.example/web:2", "deploy of revision 2"),
        name="failed pull due: pulled again",
    ),
    case(
        desired(recheck_image=True),
        observed(*TWO),
        Pull("registry.example/web:2", "deploy names the tag again: it may have moved"),
        name="recheck: pull, instances untouched",
    ),
    case(
        desired(image_missing=True),
        observed(instance(0)),
        Pull("registry.example/web@sha256:d2", LOST),
        name="image missing: fetched by digest, nothing launched meanwhile",
    ),
    case(
        desired(image_missing=True, revision=replace(WANTED, image_digest=None)),
        observed(*TWO),
        Pull("registry.example/web:2", LOST),
        name="image missing without a digest: fetched by its tag",
    ),
    case(
        desired(revision=UNRESOLVED, fallback=OLD, pull=Retry(1, later(5), "no answer")),
        observed(instance(0, revision=OLD)),
        Launch(1, 1, "slot 1 has no instance"),
        name="wanted image can't be had: the revision before heals",
    ),
    case(
        desired(revision=UNRESOLVED, count=1, pull=Retry(1, later(5), "no answer")),
        observed(instance(0, revision=OLD), instance(1, revision=OLD)),
        Stop("old1", 1, "scaled to 1"),
        name="no image known at all: running ones stay, scaling down works",
    ),
    case(
        desired(count=4),
        observed(*TWO),
        Launch(2, 2, "slot 2 has no instance"),
        Launch(3, 2, "slot 3 has no instance"),
        name="scale up: existing ones untouched",
    ),
    case(
        desired(count=1),
        observed(*TWO, instance(2), instance(3)),
        Stop("i3", 3, "scaled to 1"),
        Stop("i2", 2, "scaled to 1"),
        Stop("i1", 1, "scaled to 1"),
        name="scale down: highest slots first",
    ),
    case(
        desired(count=1),
        observed(instance(0), instance(1, Phase.PENDING), instance(2, Phase.CREATED)),
        Remove("i2", 2, "scaled to 1"),
        Forget("i1", 1, "scaled to 1"),
        name="scale down: what never ran is removed or forgotten",
    ),
    case(
        desired(),
        observed(instance(0), instance(1, Phase.EXITED)),
        Launch(1, 2, "replaces an instance that died: exit code 3"),
        Remove("i1", 1, "ended: exit code 3"),
        name="death: replaced and removed in one step",
    ),
    case(
        desired(),
        observed(instance(0), instance(1, Phase.VANISHED)),
        Launch(1, 2, "replaces an instance that died: exit code 3"),
        Forget("i1", 1, "exit code 3"),
        name="vanished: replaced and forgotten",
    ),
    case(
        desired(),
        observed(instance(0), instance(1, Phase.EXITED), slots={1: Retry(3, later(20), "exit code 3")}),
        Remove("i1", 1, "ended: exit code 3"),
        name="crash loop: only cleared until its time comes",
    ),
    case(
        desired(),
        observed(instance(0), slots={1: Retry(3, NOW, "exit code 3")}),
        Launch(1, 2, "tries again after: exit code 3"),
        name="crash loop: launched when its time has come",
    ),
    case(
        desired(),
        observed(instance(0, Phase.PENDING), instance(1, Phase.CREATED)),
        Resume("i0", 0, "its launch was cut off"),
        Resume("i1", 1, "its launch was cut off"),
        name="cut-off launches: gone on with",
    ),
    case(
        desired(),
        observed(instance(0, Phase.PENDING, busy=True), instance(1, busy=True)),
        name="launches under way: nothing",
    ),
    case(
        desired(count=1),
        observed(instance(0), instance(1, Phase.STOPPING, reason="scaled to 1")),
        Stop("i1", 1, "scaled to 1"),
        name="cut-off stop: ordered again",
    ),
    case(
        desired(),
        observed(*TWO, instance(1, Phase.STOPPING, uuid="x", reason="its health check fails")),
        Stop("x", 1, "its health check fails"),
        name="cut-off stop in a wanted slot: ordered again with its own reason",
    ),
    case(
        desired(count=1),
        observed(instance(0), instance(1, Phase.STOPPING, busy=True)),
        name="stop under way: nothing",
    ),
    case(
        desired(),
        observed(instance(0), instance(1, Phase.PAUSED)),
        Launch(1, 2, "slot 1 has no instance"),
        Remove("i1", 1, "paused by somebody: a paused instance serves nobody"),
        name="paused: replaced and removed",
    ),
    case(
        desired(),
        observed(instance(0), instance(1, Phase.REMOVING)),
        Launch(1, 2, "slot 1 has no instance"),
        name="being removed: replaced, its removal left to the engine",
    ),
    case(
        desired(),
        observed(*TWO, instance(1, uuid="younger", created_at=later(-5))),
        Stop("younger", 1, "its slot has another instance"),
        name="two in a slot: the older ready one stays",
    ),
    case(
        desired(count=1),
        observed(instance(0, Phase.PENDING), instance(0, uuid="ready", created_at=later(-5))),
        Forget("i0", 0, "its slot has another instance"),
        name="two in a slot: the ready one stays",
    ),
    case(
        desired(),
        observed(instance(0), instance(1, health=Health.UNHEALTHY)),
        Stop("i1", 1, "its health check fails", failed=True),
        name="unhealthy: ended as failed",
    ),
    case(desired(), observed(instance(0), instance(1, health=Health.STARTING)), name="health not known yet: nothing"),
    case(
        desired(),
        observed(instance(0), instance(1, Phase.EXITED, busy=True), instance(1, uuid="next")),
        name="removal under way: nothing",
    ),
]


@pytest.mark.parametrize(("wanted", "seen", "actions"), STARTED)
def test_started_service_takes_this_step(wanted: Desired, seen: Observed, actions: tuple[Action, ...]) -> None:
    assert plan(wanted, seen, NOW).actions == actions


STOPPED, DELETED = desired(started=False), desired(started=False, deleted=True)
ENDING = [
    case(
        STOPPED,
        observed(instance(0), instance(1, Phase.PENDING), instance(2, Phase.CREATED), instance(3, revision=OLD)),
        Stop("i0", 0, "service stopped"),
        Forget("i1", 1, "service stopped"),
        Remove("i2", 2, "service stopped"),
        Stop("old3", 3, "service stopped"),
        name="stopped: everything ends",
    ),
    case(
        STOPPED,
        observed(instance(0, Phase.EXITED), instance(1, Phase.PAUSED), instance(2, Phase.VANISHED)),
        Remove("i0", 0, "ended: exit code 3"),
        Remove("i1", 1, "paused by somebody: a paused instance serves nobody"),
        Forget("i2", 2, "exit code 3"),
        name="stopped: what ended before is cleared",
    ),
    case(STOPPED, observed(), name="stopped: nothing"),
    case(STOPPED, observed(instance(0, Phase.STOPPING, busy=True)), name="stopped: stop under way"),
    case(DELETED, observed(instance(0)), Stop("i0", 0, "service deleted"), name="deleted: instances first"),
    case(
        DELETED,
        observed(instance(0, Phase.REMOVING), volumes_left=True),
        name="deleted: volumes wait for the last container",
    ),
    case(DELETED, observed(volumes_left=True), ReleaseVolumes("service deleted"), name="deleted: then the volumes"),
    case(DELETED, observed(), Purge("nothing is left of it"), name="deleted: then its rows"),
    case(replace(STOPPED, revision=UNRESOLVED, recheck_image=True), observed(), name="stopped: no pull"),
]


@pytest.mark.parametrize(("wanted", "seen", "actions"), ENDING)
def test_service_not_started_takes_this_step(wanted: Desired, seen: Observed, actions: tuple[Action, ...]) -> None:
    assert plan(wanted, seen, NOW).actions == actions


@pytest.mark.parametrize("wanted", [desired(count=5), STOPPED, DELETED, desired(revision=UNRESOLVED)])
def test_unreachable_engine_plans_nothing_and_says_so(wanted: Desired) -> None:
    seen = observed(*TWO, reachable=False, trouble="engine does not answer: connection refused")

    assert plan(wanted, seen, NOW) == Plan(waiting=("engine does not answer: connection refused",))


WAITING = [
    (desired(revision=UNRESOLVED), observed(pulling=True), None, "pulling registry.example/web:2"),
    (
        desired(revision=UNRESOLVED, pull=Retry(2, later(8), "denied")),
        observed(),
        later(8),
        "pull of registry.example/web:2: next try in 8 s after 2 failures: denied",
    ),
    (
        desired(),
        observed(instance(0), slots={1: Retry(3, later(20), "exit code 3")}),
        later(20),
        "slot 1: next try in 20 s after 3 failures: exit code 3",
    ),
    (desired(), observed(*OLDS, instance(0, **FRESH)), later(1.5), "slot 1 is replaced after those before it"),
    (
        desired(stateful=True, count=1),
        observed(instance(0, Phase.STOPPING, busy=True)),
        None,
        "slot 0 starts again when its instance before has ended",
    ),
    (desired(image_missing=True), observed(), None, "image registry.example/web:2 is not there yet"),
]


@pytest.mark.parametrize(("wanted", "seen", "wake_at", "why"), WAITING)
def test_waiting_is_explained_and_wakes_in_time(wanted: Desired, seen: Observed, wake_at: object, why: str) -> None:
    planned = plan(wanted, seen, NOW)

    assert why in planned.waiting
    assert planned.wake_at == wake_at


def test_several_reasons_to_wait_wake_at_the_first() -> None:
    seen = observed(slots={0: Retry(3, later(20), "x"), 1: Retry(2, later(7), "x")})

    assert plan(desired(), seen, NOW).wake_at == later(7)


def test_target_is_the_wanted_revision_as_soon_as_its_image_is_known() -> None:
    assert target_revision(desired(fallback=OLD)) == WANTED
    assert target_revision(desired(revision=UNRESOLVED, fallback=OLD)) == OLD
    assert target_revision(desired(revision=UNRESOLVED)) is None
