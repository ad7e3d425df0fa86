"""The engine contract: what a container has used so far."""

from __future__ import annotations

import pytest

from orchestrator.engine.errors import EngineError, Fault
from tests.contract.conftest import MEBIBYTE, Launch
from tests.contract.worlds import World
from tests.support.poll import eventually


def test_running_container_tells_what_it_has_used(world: World, launch: Launch) -> None:
    before = world.now()
    container_id = launch("used")

    reading = world.engine.stats(container_id)

    assert before * 1000 - 1 <= reading.at_ms <= world.now() * 1000 + 1
    assert reading.cpu_ns > 0
    assert 0 < reading.memory_bytes < 64 * MEBIBYTE
    assert (reading.rx_errors, reading.tx_errors) == (0, 0)


def test_counters_grow_while_the_container_works(world: World, launch: Launch) -> None:
    container_id = launch("works")
    before = world.engine.stats(container_id)

    world.work(container_id)

    after = world.engine.stats(container_id)
    assert after.at_ms > before.at_ms
    assert after.cpu_ns >= before.cpu_ns + 50_000_000
    assert after.memory_bytes >= before.memory_bytes + 4 * MEBIBYTE


def test_container_that_ended_tells_nothing_rather_than_zeros(world: World, launch: Launch) -> None:
    container_id = launch("ended")
    world.kill(container_id)
    eventually(lambda: world.engine.inspect_container(container_id).state == "exited")

    with pytest.raises(EngineError) as caught:
        world.engine.stats(container_id)

    assert caught.value.fault is Fault.CONFLICT


def test_missing_container_is_said_to_be_missing(world: World, launch: Launch) -> None:
    container_id = launch("missing")
    world.take_away(container_id)

    with pytest.raises(EngineError) as caught:
        world.engine.stats(container_id)

    assert caught.value.fault is Fault.NOT_FOUND
