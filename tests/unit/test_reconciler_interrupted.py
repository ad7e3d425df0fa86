"""The reconcile pass interrupted: a database that fails, a lease that is lost, a worker killed in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from orchestrator.bookkeeper import Bookkeeper
from orchestrator.state import Phase
from orchestrator.store.schema import InstanceRow
from tests.support.poll import eventually
from tests.support.rig import DyingEngine, Rig

VOLUMES = [{"app_volume_dir": "/data", "volume_type": "EBS", "size_gb": 1}]


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(sqlite_url, tmp_path)
    yield made
    made.close()


class FailingOnce(Bookkeeper):
    """A bookkeeper whose database fails at its first record."""

    failed = False

    def record(self, *arguments: Any) -> None:
        if not self.failed:
            self.failed = True
            raise OperationalError("UPDATE", {}, Exception("database is locked"))
        super().record(*arguments)


def test_outcomes_survive_a_failing_database(rig: Rig) -> None:
    rig.create(target_num_instances=2)
    rig.run_pass()
    rig.run_pass()
    rig.reconciler._bookkeeper = FailingOnce(lambda: 0.5)

    with pytest.raises(OperationalError):
        rig.run_pass()
    assert len(rig.executor.outcomes()) == 2
    rig.converge()

    assert rig.status() == ("Running", "2 of 2 instances running")
    assert len(rig.events("instance_launched")) == 2
    assert len(rig.containers()) == 2


def test_lost_lease_leaves_rows_to_the_next_holder(rig: Rig) -> None:
    rig.create()
    rig.run_pass()
    rig.permitted = False
    rig.run_pass()
    rig.run_pass()

    assert [i.phase for i in rig.instances()] == [Phase.PENDING]
    assert not rig.containers()
    assert not rig.events("launch_failed")

    rig.permitted = True
    rig.converge()
    assert len(rig.ids()) == 1
    assert len(rig.containers()) == 1


def test_late_outcome_does_not_reopen_an_instance_that_was_closed(rig: Rig) -> None:
    """Another worker had the lease meanwhile, and closed the row."""
    rig.create()
    rig.run_pass()
    rig.run_pass()
    with rig.sessions() as session:
        session.execute(update(InstanceRow).values(phase="gone", gone_at=rig.now))
        session.commit()
    rig.converge()

    with rig.sessions() as session:
        closed = session.scalars(select(InstanceRow).where(InstanceRow.gone_at.is_not(None))).all()
    assert {row.phase for row in closed} == {"gone"}
    assert len(rig.containers()) == 1


def test_status_of_a_newer_write_is_not_overwritten(rig: Rig) -> None:
    rig.create()
    rig.converge()
    with rig.sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM services WHERE observed_generation = generation")) == 1
    rig.change(target_num_instances=2)

    assert rig.service().observed_generation < rig.service().generation
    rig.converge()
    assert rig.service().observed_generation == rig.service().generation


KILLS = [
    (method, moment)
    for method in ("pull", "ensure_volume", "create_container", "start_container")
    for moment in ("before", "after")
]


@pytest.mark.parametrize(("method", "moment"), KILLS)
def test_worker_killed_in_a_launch_leaves_no_double_and_no_orphan(rig: Rig, method: str, moment: str) -> None:
    rig.create(target_num_instances=2, volumes=VOLUMES)
    dying = DyingEngine(rig.engine, method, moment)
    rig.restart(dying)
    run_until_dead(rig, dying)

    rig.restart()
    rig.converge()

    assert sorted(rig.ids()) == [0, 1]
    assert len(rig.containers()) == 2
    assert {i.uuid for i in rig.instances()} == set(rig.containers())
    assert len(rig.engine.world.volumes) == 2


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("method", ["stop_container", "inspect_container", "remove_container"])
@pytest.mark.parametrize("ending", ["scale", "stop", "delete"])
def test_worker_killed_in_a_stop_goes_on_with_it(rig: Rig, method: str, moment: str, ending: str) -> None:
    rig.create(target_num_instances=2)
    rig.converge()
    before = rig.ids()
    dying = DyingEngine(rig.engine, method, moment)
    rig.restart(dying)
    if ending == "scale":
        rig.change(target_num_instances=1)
    elif ending == "stop":
        rig.change(target_state="STOPPED")
    else:
        rig.delete()
    run_until_dead(rig, dying)

    rig.restart()
    rig.converge()

    assert {c.id for c in rig.containers().values()} == ({before[0]} if ending == "scale" else set())
    assert not rig.events("instance_died"), "an end that was ordered is no death"
    with rig.sessions() as session:
        assert not session.scalars(select(InstanceRow).where(InstanceRow.gone_at.is_(None), InstanceRow.slot > 0)).all()


def run_until_dead(rig: Rig, dying: DyingEngine) -> None:
    """Passes of a worker that is going to be killed; what its threads do after that has no effect."""

    def step() -> bool:
        if not dying.dead.is_set():
            rig.reconciler.run_pass()
            rig.after(0.1)
        return dying.dead.is_set()

    eventually(step, 20, 0.01)
