"""Containers of ours that no row knows: taken in again, or ended. Those of others are never touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from orchestrator.engine.errors import EngineError, Fault
from orchestrator.engine.fake import FakeEngine
from orchestrator.store.schema import InstanceRow, ServiceRow
from tests.support.rig import Rig


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(sqlite_url, tmp_path)
    made.create(target_num_instances=2)
    made.converge()
    yield made
    made.close()


def forget_rows(rig: Rig) -> None:
    with rig.sessions() as session:
        session.execute(delete(InstanceRow))
        session.commit()


@pytest.mark.parametrize("full", [True, False])
def test_running_container_without_a_row_is_adopted_as_it_is(rig: Rig, full: bool) -> None:
    """The database was restored from a copy older than the instances."""
    before, launches = rig.ids(), rig.engine.calls["create_container"]
    forget_rows(rig)
    rig.run_pass(*([] if full else [rig.service().uuid]))
    rig.converge()

    assert rig.ids() == before
    assert rig.engine.calls["create_container"] == launches
    assert set(rig.containers()) == {i.uuid for i in rig.instances()}
    assert [i.phase for i in rig.instances()] == ["running", "running"]
    assert len(rig.events("instance_adopted")) == 2


@pytest.mark.parametrize("state", ["created", "exited"])
def test_container_without_a_row_that_does_not_run_is_brought_to_its_end_or_start(rig: Rig, state: str) -> None:
    container = next(iter(rig.engine.world.containers.values()))
    container.state = state
    forget_rows(rig)
    rig.converge()

    assert sorted(rig.ids()) == [0, 1]
    assert len(rig.containers()) == 2


def test_container_whose_row_was_closed_is_ended(rig: Rig) -> None:
    before = rig.ids()
    with rig.sessions() as session:
        session.execute(update(InstanceRow).where(InstanceRow.slot == 1).values(phase="gone", gone_at=rig.now))
        session.commit()
    rig.converge()

    assert rig.ids()[0] == before[0]
    assert rig.ids()[1] != before[1]
    assert len(rig.containers()) == 2


@pytest.mark.parametrize("state", ["running", "created", "exited", "paused"])
def test_container_of_a_service_that_is_gone_is_ended_in_every_state(rig: Rig, state: str) -> None:
    config = next(iter(rig.containers().values())).config
    stray = replace(config, name="skylark-x", labels={**config.labels, "skylark.service": "s", "skylark.instance": "x"})
    container = rig.engine.create_container(stray)
    if state != "created":
        rig.engine.start_container(container)
    if state == "exited":
        rig.engine.die(container)
    if state == "paused":
        rig.engine.set_paused(container, True)
    rig.converge()

    assert container not in rig.engine.world.containers
    assert len(rig.ids()) == 2
    if state in ("running", "exited"):
        assert rig.drained == [container]


def test_containers_of_a_purged_service_are_ended(rig: Rig) -> None:
    with rig.sessions() as session:
        session.execute(delete(InstanceRow))
        session.execute(delete(ServiceRow))
        session.commit()
    rig.converge()

    assert not rig.containers()


def test_partial_pass_looks_for_no_strays(rig: Rig) -> None:
    uuid = rig.service().uuid
    other = replace(
        next(iter(rig.containers().values())).config,
        name="skylark-x",
        labels={"skylark.service": "s", "skylark.instance": "x"},
    )
    rig.engine.create_container(other)
    rig.run_pass(uuid)
    rig.run_pass(uuid)

    assert len(rig.containers()) == 3


def test_launch_under_way_is_no_stray(rig: Rig) -> None:
    rig.change(target_num_instances=4)
    rig.reconciler.run_pass()
    rig.reconciler.run_pass()
    rig.wait()
    rig.converge()

    assert sorted(rig.ids()) == [0, 1, 2, 3]
    assert rig.engine.calls["stop_container"] == 0


def test_another_installation_on_the_same_engine_is_never_touched(rig: Rig) -> None:
    other = FakeEngine("other", rig.engine.world)
    config = next(iter(rig.containers().values())).config
    theirs = other.create_container(replace(config, name="theirs", labels={**config.labels, "skylark.instance": "y"}))
    other.start_container(theirs)
    rig.delete()
    for _ in range(10):
        rig.run_pass()
        rig.after(1)

    assert list(rig.engine.world.containers) == [theirs]


def test_unreachable_engine_ends_no_stray(rig: Rig) -> None:
    forget_rows(rig)
    rig.engine.down = EngineError(Fault.UNREACHABLE, "refused")
    rig.run_pass()
    rig.engine.down = None

    assert len(rig.containers()) == 2
