"""Rollouts: which slots may change now, when a new instance counts, and the steps that follow."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.actions import Action, Launch, Remove, Stop
from orchestrator.planner import plan
from orchestrator.rollout import Slot, is_settled, settled_at, slots_to_replace, surge
from orchestrator.state import Desired, Health, Instance, Observed, Phase, Retry
from tests.support.world import NOW, OLD, desired, instance, later, observed

REPLACED = "replaced by revision 2"
FRESH: dict[str, Any] = {"started_at": later(-0.5)}  # not settled yet


def case(wanted: Desired, seen: Observed, *actions: Action, name: str) -> Any:
    return pytest.param(wanted, seen, actions, id=name)


def old(*slots: int, **changes: Any) -> tuple[Any, ...]:
    return tuple(instance(slot, revision=OLD, **changes) for slot in slots)


ROLLOUT = [
    case(
        desired(),
        observed(*old(0, 1)),
        Launch(0, 2, REPLACED),
        name="stateless: the new one starts beside the old, lowest slot first",
    ),
    case(
        desired(count=8),
        observed(*old(*range(8))),
        Launch(0, 2, REPLACED),
        Launch(1, 2, REPLACED),
        name="stateless: a quarter at a time",
    ),
    case(
        desired(),
        observed(*old(0, 1), instance(0, **FRESH)),
        name="stateless: the old one stays until the new one has settled",
    ),
    case(
        desired(count=4),
        observed(instance(0, unready="GET /: status 500"), instance(1), *old(2, 3)),
        name="stateless: a new one that became unready stops the rollout",
    ),
    case(
        desired(),
        observed(*old(0, 1), instance(0)),
        Launch(1, 2, REPLACED),
        Stop("old0", 0, REPLACED),
        name="stateless: settled, so the old one ends and the next slot begins",
    ),
    case(
        desired(),
        observed(*old(0, 1), instance(0, health=Health.STARTING)),
        name="stateless: not healthy yet, so the old one stays",
    ),
    case(
        desired(),
        observed(instance(0, Phase.CREATED, revision=OLD), *old(1)),
        Launch(0, 2, REPLACED),
        Remove("old0", 0, "its revision is no longer wanted"),
        name="stateless: an old one that never ran is removed at once",
    ),
    case(
        desired(),
        observed(
            instance(0, **FRESH), *old(0, 1), instance(0, uuid="mid0", fingerprint="mid", unready="port 80: refused")
        ),
        Stop("mid0", 0, "its revision is no longer wanted"),
        name="stateless: of two old ones in a slot only the one that serves stays",
    ),
    case(
        desired(),
        observed(*old(1), instance(0, Phase.EXITED, revision=OLD)),
        Launch(0, 2, "replaces an instance that died: exit code 3"),
        Launch(1, 2, REPLACED),
        Remove("old0", 0, "ended: exit code 3"),
        name="stateless: a dead slot does not take up the surge",
    ),
    case(
        desired(),
        observed(*old(0, 1), slots={0: Retry(2, later(9), "exit code 1")}),
        name="stateless: a new revision that crashes goes no further",
    ),
    case(
        desired(stateful=True),
        observed(*old(0, 1)),
        Stop("old0", 0, REPLACED),
        name="stateful: the old one ends first, one slot at a time",
    ),
    case(
        desired(stateful=True),
        observed(instance(0, Phase.STOPPING, revision=OLD, busy=True), *old(1)),
        name="stateful: nothing starts while the old one holds the volume",
    ),
    case(
        desired(stateful=True),
        observed(instance(0, Phase.PAUSED, revision=OLD), *old(1)),
        Remove("old0", 0, "paused by somebody: a paused instance serves nobody"),
        name="stateful: a paused one holds the volume until it is removed",
    ),
    case(
        desired(stateful=True),
        observed(*old(1)),
        Launch(0, 2, "slot 0 has no instance"),
        name="stateful: the emptied slot is filled before the next",
    ),
    case(
        desired(stateful=True),
        observed(instance(0, **FRESH), *old(1)),
        name="stateful: the next slot waits until the new one has settled",
    ),
    case(
        desired(stateful=True),
        observed(instance(0), *old(1)),
        Stop("old1", 1, REPLACED),
        name="stateful: settled, so the next slot",
    ),
    case(
        desired(stateful=True),
        observed(instance(0, Phase.CREATED, revision=OLD), *old(1)),
        Remove("old0", 0, "its revision is no longer wanted"),
        name="stateful: an old one that never ran is removed once",
    ),
]


@pytest.mark.parametrize(("wanted", "seen", "actions"), ROLLOUT)
def test_rollout_takes_this_step(wanted: Desired, seen: Observed, actions: tuple[Action, ...]) -> None:
    assert plan(wanted, seen, NOW).actions == actions


def slots(*pairs: tuple[Instance | None, Instance | None]) -> dict[int, Slot]:
    """Slots from (current, outdated) pairs."""
    return {number: Slot(number, new, (old_one,) if old_one else ()) for number, (new, old_one) in enumerate(pairs)}


@pytest.mark.parametrize(("count", "at_once"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (100, 25)])
def test_surge_is_a_quarter_and_at_least_one(count: int, at_once: int) -> None:
    assert surge(count) == at_once


@pytest.mark.parametrize(
    ("found", "at"),
    [
        (instance(0, started_at=NOW), later(2)),
        (instance(0, health=Health.HEALTHY, started_at=NOW), later(2)),
        (instance(0, health=Health.STARTING), None),
        (instance(0, health=Health.UNHEALTHY), None),
        (instance(0, Phase.PENDING), None),
        (instance(0, Phase.STOPPING), None),
        (instance(0, started_at=None), None),
    ],
)
def test_instance_settles_two_seconds_after_its_start_while_ready(found: Instance, at: object) -> None:
    assert settled_at(found) == at


def test_instance_is_settled_exactly_when_its_time_has_come() -> None:
    found = instance(0, started_at=NOW)

    assert not is_settled(found, later(1.999))
    assert is_settled(found, later(2))
    assert not is_settled(None, NOW)


NEW, FRESH_NEW, OUT = instance(0), instance(0, **FRESH), instance(0, revision=OLD)


@pytest.mark.parametrize(
    ("found", "stateful", "replaced"),
    [
        (slots((None, OUT), (None, OUT), (None, OUT)), False, [0]),
        (slots(*[(None, OUT)] * 5), False, [0, 1]),
        (slots((FRESH_NEW, OUT), *[(None, OUT)] * 4), False, [1]),
        (slots((FRESH_NEW, OUT), (FRESH_NEW, OUT), *[(None, OUT)] * 3), False, []),
        (slots((FRESH_NEW, OUT), (None, OUT)), False, []),
        (slots((NEW, OUT), (None, OUT)), False, [1]),
        (slots((None, None), (None, OUT)), False, [1]),
        (slots((None, OUT), (None, OUT)), True, [0]),
        (slots((NEW, None), (None, OUT)), True, [1]),
        (slots((FRESH_NEW, None), (None, OUT)), True, []),
        (slots((None, None), (None, OUT)), True, []),
        (slots((FRESH_NEW, OUT), (None, OUT)), True, []),
        ({}, False, []),
        ({}, True, []),
    ],
)
def test_these_slots_may_be_replaced_now(found: dict[int, Slot], stateful: bool, replaced: list[int]) -> None:
    assert slots_to_replace(found, stateful, NOW) == replaced
