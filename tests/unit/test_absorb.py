"""What the engine shows becomes what we know: phases, deaths with their reasons, ports and addresses."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.absorb import absorb, died, ran_seconds
from orchestrator.engine.base import ContainerFact
from orchestrator.state import Health, Phase
from tests.support.world import NOW, instance, later

SOMEBODY = "its container was removed by somebody else"


def fact(state: str, **changes: Any) -> ContainerFact:
    return ContainerFact(**({"id": "c-i0", "name": "skylark-i0", "state": state, "labels": {}} | changes))


@pytest.mark.parametrize(
    ("before", "state", "after"),
    [
        (Phase.PENDING, "created", Phase.CREATED),
        (Phase.PENDING, "running", Phase.RUNNING),
        (Phase.PENDING, "exited", Phase.EXITED),
        (Phase.CREATED, "running", Phase.RUNNING),
        (Phase.RUNNING, "running", Phase.RUNNING),
        (Phase.RUNNING, "restarting", Phase.RUNNING),
        (Phase.RUNNING, "paused", Phase.PAUSED),
        (Phase.RUNNING, "exited", Phase.EXITED),
        (Phase.RUNNING, "dead", Phase.EXITED),
        (Phase.RUNNING, "removing", Phase.REMOVING),
        (Phase.PAUSED, "running", Phase.RUNNING),
        (Phase.STOPPING, "running", Phase.STOPPING),
        (Phase.STOPPING, "paused", Phase.STOPPING),
        (Phase.STOPPING, "created", Phase.STOPPING),
        (Phase.STOPPING, "exited", Phase.EXITED),
        (Phase.STOPPING, "removing", Phase.REMOVING),
        (Phase.RUNNING, "a state of a newer engine", Phase.RUNNING),
    ],
)
def test_container_in_this_state_brings_the_instance_to_this_phase(before: Phase, state: str, after: Phase) -> None:
    assert absorb(instance(0, before), fact(state), NOW).phase is after


def test_unchanged_container_changes_nothing() -> None:
    known = absorb(instance(0), fact("running", address="172.17.0.2", ports=((80, "tcp", 32768),)), NOW)

    assert absorb(known, fact("running", address="172.17.0.2", ports=((80, "tcp", 32768),)), later(60)) == known


def test_running_container_gives_address_ports_health_and_start() -> None:
    found = fact("running", health="starting", address="172.17.0.2", ports=((22, "tcp", 32768),))
    seen = absorb(instance(0, Phase.CREATED), found, NOW)

    assert (seen.address, seen.ports, seen.health) == ("172.17.0.2", ((22, "tcp", 32768),), Health.STARTING)
    assert seen.started_at == NOW


def test_container_found_by_its_label_is_noted_with_its_id() -> None:
    assert absorb(instance(0, Phase.PENDING), fact("created", id="abc"), NOW).container_id == "abc"


def test_death_is_told_with_its_exit_code() -> None:
    before = instance(0)
    after = absorb(before, fact("exited", exit_code=3), NOW)

    assert (after.reason, after.exit_code, after.finished_at) == ("exit code 3", 3, NOW)
    assert died(before, after)


def test_death_is_told_once() -> None:
    dead = absorb(instance(0), fact("exited", exit_code=3), NOW)
    still_dead = absorb(dead, fact("exited", exit_code=3), later(5))

    assert still_dead == dead
    assert not died(dead, still_dead)


def test_end_that_we_ordered_keeps_our_reason_and_is_no_death() -> None:
    before = instance(0, Phase.STOPPING, reason="scaled to 0")
    after = absorb(before, fact("exited", exit_code=143), NOW)

    assert (after.reason, after.exit_code) == ("scaled to 0", 143)
    assert not died(before, after)


@pytest.mark.parametrize("phase", [Phase.CREATED, Phase.RUNNING, Phase.PAUSED])
def test_container_removed_by_somebody_else_is_a_death(phase: Phase) -> None:
    before = instance(0, phase)
    after = absorb(before, None, NOW)

    assert (after.phase, after.reason, after.container_id) == (Phase.VANISHED, SOMEBODY, None)
    assert after.finished_at == NOW
    assert died(before, after)


def test_container_on_its_way_out_by_somebody_else_is_a_death_told_once() -> None:
    before = instance(0)
    leaving = absorb(before, fact("removing"), NOW)
    gone = absorb(leaving, None, later(1))

    assert died(before, leaving)
    assert not died(leaving, gone)
    assert (gone.phase, gone.reason, gone.finished_at) == (Phase.VANISHED, SOMEBODY, NOW)


@pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.EXITED])
def test_container_gone_after_our_order_keeps_its_reason(phase: Phase) -> None:
    before = instance(0, phase, reason="scaled to 0")
    after = absorb(before, None, NOW)

    assert (after.phase, after.reason) == (Phase.VANISHED, "scaled to 0")
    assert not died(before, after)


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.VANISHED, Phase.GONE])
def test_instance_without_a_container_stays_as_it_is(phase: Phase) -> None:
    before = instance(0, phase)

    assert absorb(before, None, NOW) == before


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ({"started_at": later(-30), "finished_at": later(-10)}, 20),
        ({"started_at": later(-30)}, 30),
        ({"started_at": None}, 0),
        ({"started_at": later(10), "finished_at": NOW}, 0),
    ],
)
def test_instance_ran_from_its_start_to_its_end(times: dict[str, Any], seconds: float) -> None:
    assert ran_seconds(instance(0, **times), NOW) == seconds
