"""The words a user reads: current_status, is_deploying and the reason, for every situation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.planner import plan
from orchestrator.state import Desired, Health, Instance, Observed, Phase, Retry
from orchestrator.status import Status, status, when_reached
from tests.support.world import NOW, OLD, UNRESOLVED, desired, instance, later, observed

OLDS = (instance(0, revision=OLD), instance(1, revision=OLD))
DENIED = Retry(2, later(8), "registry_denied: unauthorized")
NO_PULL = "image can't be pulled: registry_denied: unauthorized (2 failures in a row)"
NOT_YET = {"failures": 3, "retry_at": later(20), "reason": "exit code 3"}
LOOP = "slot 1 failed 3 times in a row, restarts back off: exit code 3"


def shown(wanted: Desired, seen: Observed) -> Status:
    return status(wanted, seen, plan(wanted, seen, NOW), NOW)


def back(**changes: object) -> Instance:
    """Slot 1's instance, started again and alive for long enough."""
    return instance(1, **({"started_at": later(-15)} | changes))


@pytest.mark.parametrize(
    ("wanted", "seen", "expected"),
    [
        pytest.param(
            desired(),
            observed(instance(0), instance(1)),
            ("Running", False, "2 of 2 instances running"),
            id="converged",
        ),
        pytest.param(
            desired(count=1), observed(instance(0)), ("Running", False, "1 of 1 instance running"), id="one instance"
        ),
        pytest.param(desired(count=0), observed(), ("Running", False, "0 of 0 instances running"), id="none wanted"),
        pytest.param(
            desired(count=0, may_sleep=True),
            observed(),
            ("Running", False, "asleep: wakes on the first request"),
            id="asleep",
        ),
        pytest.param(
            desired(count=1, may_sleep=True), observed(), ("Deploying", True, "0 of 1 instance ready"), id="waking"
        ),
        pytest.param(
            desired(count=0, may_sleep=True),
            observed(instance(0)),
            ("Deploying", True, "0 of 0 instances ready"),
            id="falling asleep",
        ),
        pytest.param(
            desired(revision=UNRESOLVED),
            observed(),
            ("Deploying", True, "pulling registry.example/web:2"),
            id="pulling",
        ),
        pytest.param(desired(), observed(), ("Deploying", True, "0 of 2 instances ready"), id="launching"),
        pytest.param(
            desired(),
            observed(instance(0), instance(1, Phase.PENDING, busy=True)),
            ("Deploying", True, "1 of 2 instances ready"),
            id="half way",
        ),
        pytest.param(
            desired(),
            observed(instance(0), instance(1, health=Health.STARTING)),
            ("Deploying", True, "1 of 2 instances ready"),
            id="not healthy yet",
        ),
        pytest.param(
            desired(),
            observed(*OLDS),
            ("Deploying", True, "2 of 2 instances ready, 2 still of an older revision"),
            id="rollout",
        ),
        pytest.param(
            desired(count=1),
            observed(instance(0), instance(1)),
            ("Deploying", True, "1 of 1 instance ready"),
            id="scaling down",
        ),
        pytest.param(
            desired(),
            observed(instance(0), instance(1, Phase.EXITED)),
            ("Deploying", True, "1 of 2 instances ready"),
            id="first death is healed at once",
        ),
        pytest.param(
            desired(),
            observed(instance(0), slots={1: Retry(**NOT_YET)}),
            ("PartialRunning", False, LOOP),
            id="one slot crash-loops",
        ),
        pytest.param(
            desired(count=1),
            observed(slots={0: Retry(2, later(10), "exit code 3")}),
            ("StartError", False, "slot 0 failed 2 times in a row, restarts back off: exit code 3"),
            id="the only slot crash-loops",
        ),
        pytest.param(
            desired(),
            observed(instance(0), back(), slots={1: Retry(3, later(-6), "exit code 3")}),
            ("Running", False, "2 of 2 instances running"),
            id="crash loop over",
        ),
        pytest.param(
            desired(),
            observed(instance(0), back(started_at=later(-14)), slots={1: Retry(3, later(-16), "exit code 3")}),
            ("Running", False, LOOP),
            id="crash loop perhaps over",
        ),
        pytest.param(
            desired(count=1),
            observed(slots={0: Retry(1, later(10), "bad_command: no such file")}),
            ("StartError", False, "slot 0 failed 1 time in a row, restarts back off: bad_command: no such file"),
            id="first launch failed and waits",
        ),
        pytest.param(
            desired(count=1),
            observed(instance(0), slots={1: Retry(**NOT_YET)}),
            ("Running", False, "1 of 1 instance running"),
            id="trouble of a slot that is not wanted any more",
        ),
        pytest.param(
            desired(revision=UNRESOLVED, pull=DENIED), observed(), ("StartError", False, NO_PULL), id="nothing to run"
        ),
        pytest.param(
            desired(revision=UNRESOLVED, fallback=OLD, pull=DENIED),
            observed(*OLDS),
            ("Running", False, NO_PULL),
            id="update can't be pulled",
        ),
        pytest.param(
            desired(revision=UNRESOLVED, fallback=OLD, pull=DENIED),
            observed(OLDS[0]),
            ("PartialRunning", False, NO_PULL),
            id="update can't be pulled and one is missing",
        ),
        pytest.param(
            desired(started=False), observed(instance(0)), ("Deploying", True, "stopping 1 instance"), id="stopping"
        ),
        pytest.param(
            desired(started=False), observed(), ("Stopped", False, "stopped by its target_state"), id="stopped"
        ),
        pytest.param(
            desired(started=False, pull=DENIED),
            observed(),
            ("Stopped", False, "stopped by its target_state"),
            id="stopped with an image that can't be pulled",
        ),
        pytest.param(desired(started=False, deleted=True), observed(), ("Stopped", False, "deleted"), id="deleted"),
        pytest.param(
            desired(),
            observed(instance(0), reachable=False, trouble="engine does not answer: refused"),
            ("Error", False, "engine does not answer: refused"),
            id="engine unreachable",
        ),
    ],
)
def test_situation_reads_like_this(wanted: Desired, seen: Observed, expected: tuple[str, bool, str]) -> None:
    assert shown(wanted, seen) == Status(*expected)


@pytest.mark.parametrize(
    ("reached", "reason"),
    [
        (None, "2 of 2 instances running"),
        ({"i0", "i1"}, "2 of 2 instances running"),
        ({"i0"}, "1 ready instance about to get requests"),
        (set(), "2 ready instances about to get requests"),
    ],
    ids=["not known", "all", "one of two", "none"],
)
def test_running_is_said_when_requests_reach_every_ready_instance(reached: set[str] | None, reason: str) -> None:
    there = [replace(instance(slot), uuid=f"i{slot}", address=f"10.0.0.{slot}") for slot in (0, 1)]
    running = shown(desired(), observed(*there))
    seen = when_reached(running, there, reached)

    assert (seen.current_status, seen.reason) == ("Deploying" if "about" in reason else "Running", reason)


def test_recheck_of_the_tag_leaves_a_running_service_running() -> None:
    assert shown(desired(recheck_image=True), observed(instance(0), instance(1))).current_status == "Running"


def test_reason_does_not_change_while_nothing_happens() -> None:
    """A text with a clock in it would cost a write in every pass."""
    wanted, seen = desired(), observed(instance(0), slots={1: Retry(**NOT_YET)})

    assert shown(wanted, seen) == status(wanted, seen, plan(wanted, seen, later(3)), later(3))
