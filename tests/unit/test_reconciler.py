"""The reconcile pass on a real database and an engine in memory: what a user declares becomes and stays true."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.engine.errors import EngineError, Fault
from orchestrator.state import Phase
from orchestrator.store.schema import InstanceRow, RevisionRow, ServiceRow, SlotRow, VolumeRow
from tests.support.rig import IMAGE, Rig

VOLUMES = [{"app_volume_dir": "/data", "volume_type": "EBS", "size_gb": 1}]


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(sqlite_url, tmp_path)
    yield made
    made.close()


def test_created_service_runs_as_declared(rig: Rig) -> None:
    rig.create(target_num_instances=2, instance_envvars={"A": "b"}, instance_size="S", run_command="sleep 9")
    rig.converge()

    assert rig.status() == ("Running", "2 of 2 instances running")
    assert sorted(rig.ids()) == [0, 1]
    for container in rig.containers().values():
        assert container.config.environment["A"] == "b"
        assert (container.config.cpus, container.config.memory_bytes) == (0.5, 1024**3)
        assert container.image.id == rig.engine.world.registry[f"{IMAGE}:1"].id
    service = rig.service()
    assert service.observed_generation == service.generation


def test_rows_of_instances_stand_before_their_containers(rig: Rig) -> None:
    rig.create()
    rig.run_pass()
    rig.engine.fail_next("create_container", EngineError(Fault.TIMEOUT, "slow"))
    rig.run_pass()

    assert [i.phase for i in rig.instances()] == [Phase.PENDING]
    assert not rig.containers()
    rig.converge()
    assert len(rig.ids()) == 1


def test_converged_pass_costs_one_list_call_and_no_write(rig: Rig) -> None:
    for name in ("a", "b", "c"):
        rig.create(name, target_num_instances=2)
    rig.converge()

    calls, writes = rig.counted(rig.run_pass)

    assert calls == {"list_containers": 1}
    assert writes == []


def test_scaling_leaves_the_other_containers_alone(rig: Rig) -> None:
    rig.create(target_num_instances=2)
    rig.converge()
    before = rig.ids()

    rig.change(target_num_instances=4)
    rig.converge()
    more = rig.ids()
    rig.change(target_num_instances=1)
    rig.converge()

    assert {slot: more[slot] for slot in (0, 1)} == before
    assert sorted(more) == [0, 1, 2, 3]
    assert rig.ids() == {0: before[0]}


def test_new_tag_replaces_every_instance(rig: Rig) -> None:
    new = rig.engine.world.push(f"{IMAGE}:2", "2")
    rig.create(target_num_instances=3)
    rig.converge()
    before = rig.ids()

    rig.change(image_tag="2")
    rig.converge()

    assert sorted(rig.ids()) == [0, 1, 2]
    assert not set(rig.ids().values()) & set(before.values())
    assert {c.image.id for c in rig.containers().values()} == {new.id}


def test_rollout_never_has_fewer_running_than_wanted(rig: Rig) -> None:
    rig.engine.world.push(f"{IMAGE}:2", "2")
    rig.create(target_num_instances=2)
    rig.converge()
    rig.change(image_tag="2")

    slots = []
    for _ in range(30):
        rig.run_pass()
        running = [c for c in rig.containers().values() if c.state == "running"]
        slots.append(len({c.config.labels["skylark.slot"] for c in running}))
        rig.after(0.5)

    assert min(slots) == 2
    assert rig.status()[0] == "Running"


def test_stop_removes_instances_and_start_brings_them_back_with_their_volumes(rig: Rig) -> None:
    rig.create(volumes=VOLUMES)
    rig.converge()
    volume = next(iter(rig.engine.world.volumes.values()))
    volume.files["x"] = b"kept"

    rig.change(target_state="STOPPED")
    rig.converge()
    assert not rig.containers()
    assert rig.status() == ("Stopped", "stopped by its target_state")

    rig.change(target_state="STARTED")
    rig.converge()
    assert len(rig.ids()) == 1
    assert [v.files for v in rig.engine.world.volumes.values()] == [{"x": b"kept"}]


def test_delete_leaves_only_the_volumes_listed_as_orphans(rig: Rig) -> None:
    service = rig.create(volumes=VOLUMES)
    rig.converge()
    rig.delete()
    rig.converge()

    with rig.sessions() as session:
        left = [session.scalars(select(table)).all() for table in (ServiceRow, RevisionRow, InstanceRow, SlotRow)]
        volumes = session.scalars(select(VolumeRow)).all()
    assert left == [[], [], [], []]
    assert not rig.containers()
    assert [v.name for v in volumes] == list(rig.engine.world.volumes)
    assert all(v.orphaned_at for v in volumes)
    assert rig.purged == [service.uuid]
    kinds = [e.kind for e in rig.events()]
    assert kinds.index("deleted") < kinds.index("volume_orphaned") < kinds.index("purged")


def test_delete_with_its_volumes_leaves_nothing(rig: Rig) -> None:
    rig.create(volumes=VOLUMES)
    rig.converge()
    rig.delete(delete_volumes=True)
    rig.converge()

    assert not rig.engine.world.volumes
    with rig.sessions() as session:
        assert not session.scalars(select(VolumeRow)).all()
    assert rig.events("volume_removed")


def test_delete_while_launching_leaves_nothing(rig: Rig) -> None:
    rig.create(target_num_instances=3)
    rig.run_pass()
    rig.reconciler.run_pass()
    rig.delete()
    rig.converge()

    assert not rig.containers()


def test_name_of_a_deleted_service_is_free_at_once(rig: Rig) -> None:
    rig.create()
    rig.converge()
    first = rig.ids()[0]
    rig.delete()
    rig.create()
    rig.converge()

    assert list(rig.ids()) == [0]
    assert rig.ids()[0] != first


def test_killed_container_is_replaced_in_the_same_pass_and_told(rig: Rig) -> None:
    rig.create(target_num_instances=2)
    rig.converge()
    before = rig.ids()
    rig.engine.die(before[1], 3)

    rig.run_pass()

    assert rig.ids()[0] == before[0]
    assert rig.ids()[1] != before[1]
    death = rig.events("instance_died")[0]
    assert (death.reason, death.data["exit_code"], death.data["failures"]) == ("exit code 3", 3, 1)


def test_crash_loop_backs_off_and_shows(rig: Rig) -> None:
    rig.engine.world.push(f"{IMAGE}:bad", exit_code=7)
    rig.create(image_tag="bad")
    launches = []
    for _ in range(400):
        before = rig.engine.calls["start_container"]
        rig.run_pass()
        if rig.engine.calls["start_container"] > before:
            launches.append(rig.now)
        rig.after(0.5)

    gaps = [round((b - a).total_seconds()) for a, b in itertools.pairwise(launches)]
    assert gaps[0] <= 1
    assert [round(gap, -1) for gap in gaps[1:5]] == [10, 20, 40, 80]
    assert rig.status() == ("StartError", "slot 0 failed 6 times in a row, restarts back off: exit code 7")
    assert not [c for c in rig.containers().values() if c.state == "exited"]


def test_container_removed_by_somebody_is_replaced(rig: Rig) -> None:
    rig.create()
    rig.converge()
    rig.engine.take_away(rig.ids()[0])
    rig.converge()

    assert len(rig.ids()) == 1
    assert rig.events("instance_died")[0].reason == "its container was removed by somebody else"


def test_paused_container_is_replaced(rig: Rig) -> None:
    rig.create()
    rig.converge()
    before = rig.ids()[0]
    rig.engine.set_paused(before, True)
    rig.converge()

    assert rig.ids()[0] != before
    assert len(rig.containers()) == 1


def test_unhealthy_instance_is_replaced_and_counted(rig: Rig) -> None:
    rig.engine.world.push(f"{IMAGE}:1", health="healthy")
    rig.create()
    rig.converge()
    before = rig.ids()[0]
    rig.engine.set_health(before, "unhealthy")
    rig.converge()

    assert rig.ids()[0] != before
    death = rig.events("instance_died")[0]
    assert (death.reason, death.data["failures"]) == ("its health check fails", 1)


def test_engine_down_is_told_once_plans_nothing_and_recovers(rig: Rig) -> None:
    rig.create()
    rig.converge()
    before = rig.ids()
    rig.engine.down = EngineError(Fault.UNREACHABLE, "connection refused")
    reports = [rig.run_pass() for _ in range(3)]

    assert [r.actions for r in reports] == [0, 0, 0]
    assert [r.wrote for r in reports] == [True, False, False]
    assert rig.status() == ("Error", "engine does not answer: connection refused")
    assert len(rig.events("engine_unreachable")) == 1

    rig.engine.down = None
    rig.converge()
    assert len(rig.events("engine_back")) == 1
    assert rig.status()[0] == "Running"
    assert rig.ids() == before


def test_list_that_breaks_in_another_way_also_plans_nothing(rig: Rig) -> None:
    rig.create()
    rig.converge()

    class Broken:
        def list_containers(self) -> Any:
            raise KeyError("Id")

    rig.restart(Broken())
    rig.run_pass()

    assert rig.status()[0] == "Error"
    assert "KeyError" in rig.status()[1]


def test_services_in_a_region_that_left_the_configuration_are_left_alone(rig: Rig) -> None:
    rig.create()
    rig.converge()
    with rig.sessions() as session:
        row = session.scalars(select(ServiceRow)).one()
        row.spec = {**row.spec, "region_name": "MOON1"}
        session.commit()
    rig.run_pass()

    assert len(rig.ids()) == 1
    assert rig.status() == ("Error", "region 'MOON1' is not in the configuration any more")
