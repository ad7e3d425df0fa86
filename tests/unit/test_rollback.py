"""When a rollout has failed and goes back, and when it has not."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.actions import Rollback
from orchestrator.planner import plan
from orchestrator.rollout import is_complete, rollout_failure
from orchestrator.state import Desired, Phase, Retry, Revision
from tests.support.world import NOW, OLD, desired, instance, later, observed

REFUSED = "port 80: Connection refused"
STUCK: dict[str, Any] = {"unready": REFUSED, "started_at": later(-70), "ready_at": None}


def deploying(**changes: Any) -> Desired:
    """Revision 2 is wanted since 70 s, revision 1 was good."""
    return desired(**({"good": OLD, "resolved_at": later(-70)} | changes))


def test_rollout_that_gets_nowhere_until_the_deadline_goes_back_with_its_reason() -> None:
    seen = observed(instance(0, **STUCK), *(instance(n, revision=OLD) for n in range(2)))

    assert plan(deploying(), seen, NOW).actions == (Rollback(2, 1, f"no progress in 60 s: {REFUSED}"),)


def test_rollout_with_time_left_waits_for_its_deadline() -> None:
    seen = observed(instance(0, **STUCK), *(instance(n, revision=OLD) for n in range(2)))

    assert rollout_failure(deploying(resolved_at=later(-20)), seen, NOW) == ("", later(40))
    assert plan(deploying(resolved_at=later(-20)), seen, NOW).wake_at == later(40)


def test_progress_of_one_slot_gives_the_next_one_time() -> None:
    good = instance(0, started_at=later(-30), ready_at=later(-30))
    seen = observed(good, instance(1, **STUCK), instance(1, revision=OLD))

    assert rollout_failure(deploying(), seen, NOW) == ("", later(30))


def test_slot_that_dies_three_times_in_a_row_ends_the_rollout_before_its_deadline() -> None:
    seen = observed(instance(0, revision=OLD), slots={0: Retry(3, later(20), "exit code 3")})

    failure, _ = rollout_failure(deploying(resolved_at=later(-5)), seen, NOW)
    assert failure == "slot 0 failed 3 times in a row: exit code 3"


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(deploying(good=None), id="first deploy"),
        pytest.param(deploying(revision=Revision(2, "web:2")), id="image not known yet"),
        pytest.param(deploying(good=deploying().revision), id="it is the good one itself"),
    ],
)
def test_without_something_better_to_run_no_rollout_fails(wanted: Desired) -> None:
    seen = observed(instance(0, **STUCK), slots={0: Retry(9, later(20), "exit code 3")})

    assert rollout_failure(wanted, seen, NOW) == ("", None)


def test_revision_that_never_ran_as_a_whole_is_gone_back_to_only_while_instances_of_it_are_ready() -> None:
    wanted = deploying(good_proven=False)
    stuck = instance(0, **STUCK)

    assert rollout_failure(wanted, observed(stuck, instance(1, revision=OLD)), NOW)[0] != ""
    assert rollout_failure(wanted, observed(stuck), NOW) == ("", None)


def test_complete_rollout_never_fails_whatever_happens_later() -> None:
    settled = [instance(n, started_at=later(-500), ready_at=later(-500)) for n in range(2)]
    seen = observed(*settled, slots={1: Retry(5, later(20), "exit code 3")})

    assert is_complete(deploying(), seen, NOW)
    assert rollout_failure(deploying(resolved_at=later(-900)), seen, NOW) == ("", None)


def test_unready_or_missing_instance_leaves_a_rollout_incomplete() -> None:
    assert not is_complete(deploying(), observed(instance(0), instance(1, **STUCK)), NOW)
    assert not is_complete(deploying(), observed(instance(0), instance(1, Phase.EXITED)), NOW)
    assert not is_complete(deploying(count=0), observed(), NOW)


def test_revision_that_only_stands_in_heals_but_replaces_nothing() -> None:
    waiting = deploying(revision=Revision(3, "web:nope"), fallback=OLD, good=OLD, pull=Retry(1, later(9), "missing"))
    odd = Revision(0, "web:0", "sha256:odd", None, "odd")
    seen = observed(instance(0, revision=odd))

    (launch,) = plan(waiting, seen, NOW).actions
    assert (launch.slot, launch.revision) == (1, 1)  # type: ignore[union-attr]
