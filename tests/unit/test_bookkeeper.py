"""Outcomes become rows and events: each fault its own consequence, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.actions import Launch, Pull, ReleaseVolumes, Remove, Stop
from orchestrator.bookkeeper import Bookkeeper
from orchestrator.engine.base import ContainerDetail, ResolvedImage
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.jobs import Job, Outcome
from orchestrator.state import Instance, Phase, Retry
from orchestrator.store.database import session_scope
from orchestrator.store.pass_writes import PassWrites
from orchestrator.store.schema import InstanceRow, RevisionRow, ServiceRow, SlotRow, VolumeRow
from tests.support.rig import IMAGE, Rig

REF = f"{IMAGE}:1"
FOUND = ResolvedImage("sha256:aa", f"{IMAGE}@sha256:dd")


class Desk:
    """A service with one launched row, and a bookkeeper that records outcomes about it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.uuid = rig.create(volumes=[{"app_volume_dir": "/d", "volume_type": "EBS", "size_gb": 1}]).uuid
        with session_scope(rig.sessions, write=True) as session:
            writes = PassWrites(session, rig.now)
            writes.add_instance(self.uuid, 1, Instance("i", 0, "f", Phase.PENDING, created_at=rig.now))
            writes.need_volumes((self.uuid, "ns/web"), "SHANGHAI1", 0, {"v": ("/d", 1)})

    def record(self, action: Any, *, error: Fault | None = None, generation: int = 1, **fields: Any) -> None:
        job = Job(
            key="k",
            service_uuid=self.uuid,
            service_name="ns/web",
            generation=generation,
            action=action,
            engine=self.rig.engine,
            instance_uuid="i",
            revision=1,
            image_ref=getattr(action, "image_ref", ""),
            volume_names=("v",),
        )
        fault = EngineError(error, "the engine's words") if error else None
        outcome = Outcome(job, self.rig.now, 0.1, error=fault, **fields)
        with session_scope(self.rig.sessions, write=True) as session:
            Bookkeeper(lambda: 0.5).record(session, outcome, self.rig.now)

    def row(self, table: Any) -> Any:
        with self.rig.sessions() as session:
            return session.scalars(select(table)).first()

    def kinds(self) -> list[str]:
        return [e.kind for e in self.rig.events() if e.kind != "created"]


@pytest.fixture
def desk(sqlite_url: str, tmp_path: Path) -> Iterator[Desk]:
    rig = Rig(sqlite_url, tmp_path)
    yield Desk(rig)
    rig.close()


def test_pull_resolves_the_revision_once_and_for_all(desk: Desk) -> None:
    desk.record(Pull(REF, "deploy"), image=FOUND)
    desk.record(Pull(f"{IMAGE}@sha256:dd", "lost"), image=ResolvedImage("sha256:bb", None))

    row = desk.row(RevisionRow)
    assert (row.image_id, row.image_digest) == (FOUND.image_id, FOUND.image_digest)
    assert len(row.fingerprint) == 12
    assert desk.kinds() == ["image_resolved", "image_fetched"]


def test_resolved_image_forgets_the_slots_failures(desk: Desk) -> None:
    desk.record(Launch(0, 1, "first"), error=Fault.BAD_COMMAND)
    desk.record(Pull(REF, "deploy"), image=FOUND)

    assert desk.row(SlotRow) is None


def test_failed_pull_is_noted_with_its_reason_and_next_time(desk: Desk) -> None:
    desk.record(Pull(REF, "deploy"), error=Fault.REGISTRY_DENIED)
    row = desk.row(ServiceRow)

    assert (row.pull_failures, row.pull_reason) == (1, "registry_denied: the engine's words")
    assert row.pull_retry_at == desk.rig.now + timedelta(seconds=10)
    assert desk.rig.events("pull_failed")[0].data["image"] == REF


def test_failed_pull_of_an_older_write_leaves_the_newer_one_alone(desk: Desk) -> None:
    desk.record(Pull(REF, "deploy"), error=Fault.REGISTRY_DENIED, generation=0)

    assert desk.row(ServiceRow).pull_failures == 0
    assert desk.kinds() == ["pull_failed"]


def test_launch_that_succeeded_runs(desk: Desk) -> None:
    desk.record(Launch(0, 1, "first"), container_id="c")
    row = desk.row(InstanceRow)

    assert (row.phase, row.container_id, row.started_at) == ("running", "c", desk.rig.now)
    assert desk.kinds() == ["instance_launched"]


@pytest.mark.parametrize("fault", [Fault.CONFLICT, Fault.UNREACHABLE, Fault.TIMEOUT, Fault.NOT_FOUND])
def test_launch_whose_end_is_not_known_waits_for_the_next_look(desk: Desk, fault: Fault) -> None:
    desk.record(Launch(0, 1, "first"), error=fault)

    assert desk.row(InstanceRow).phase == "pending"
    assert desk.row(SlotRow) is None
    assert desk.kinds() == []


@pytest.mark.parametrize(
    ("fault", "wait_seconds"),
    [(Fault.BAD_COMMAND, 10), (Fault.INVALID, 10), (Fault.PORT_IN_USE, 1), (Fault.NO_SPACE, 1), (Fault.ENGINE, 1)],
)
def test_launch_that_failed_is_closed_told_and_counted(desk: Desk, fault: Fault, wait_seconds: int) -> None:
    desk.record(Launch(0, 1, "first"), error=fault)
    row, slot = desk.row(InstanceRow), desk.row(SlotRow)

    assert row.gone_at is not None
    assert row.reason == f"{fault.value}: the engine's words"
    assert Retry(slot.failures, slot.retry_at, slot.reason) == Retry(
        1, desk.rig.now + timedelta(seconds=wait_seconds), row.reason
    )
    assert desk.kinds() == ["launch_failed"]


def test_lost_image_is_asked_for_and_not_counted_against_the_slot(desk: Desk) -> None:
    desk.record(Launch(0, 1, "first"), error=Fault.IMAGE_MISSING)

    assert desk.row(ServiceRow).image_missing
    assert desk.row(SlotRow) is None
    assert desk.row(InstanceRow).gone_at is not None


def detail(**changes: Any) -> ContainerDetail:
    fields: dict[str, Any] = {
        "id": "c",
        "state": "exited",
        "image_id": "sha256:aa",
        "exit_code": 137,
        "oom_killed": False,
        "error": "",
        "started_at": None,
        "finished_at": None,
    }
    return ContainerDetail(**(fields | changes))


@pytest.mark.parametrize(
    ("action", "kind"),
    [(Stop("i", 0, "scaled to 0"), "instance_stopped"), (Remove("i", 0, "ended: exit code 1"), "instance_removed")],
)
def test_removed_container_closes_its_row(desk: Desk, action: Any, kind: str) -> None:
    desk.record(action, detail=detail())
    row = desk.row(InstanceRow)

    assert (row.phase, row.exit_code) == ("gone", 137)
    assert desk.rig.events(kind)[0].reason == action.reason


def test_removal_that_failed_leaves_the_row_for_the_next_pass(desk: Desk) -> None:
    desk.record(Stop("i", 0, "scaled to 0"), error=Fault.TIMEOUT)

    assert desk.row(InstanceRow).gone_at is None
    assert desk.kinds() == []


def test_end_for_want_of_memory_is_told_in_words(desk: Desk) -> None:
    with session_scope(desk.rig.sessions, write=True) as session:
        PassWrites(session, desk.rig.now).set_slot(desk.uuid, 0, Retry(1, desk.rig.now, "exit code 137"))
    desk.record(Remove("i", 0, "ended: exit code 137"), detail=detail(oom_killed=True))

    assert desk.row(InstanceRow).oom_killed
    assert desk.row(SlotRow).reason == "exit code 137, out of memory"
    assert desk.kinds() == ["instance_oom_killed", "instance_removed"]
    assert desk.rig.events("instance_oom_killed")[0].data["exit_code"] == 137


def test_released_volumes_are_dropped_and_told(desk: Desk) -> None:
    desk.record(ReleaseVolumes("service deleted"))

    assert desk.row(VolumeRow) is None
    assert desk.kinds() == ["volume_removed"]


def test_volumes_that_could_not_be_removed_stay_listed(desk: Desk) -> None:
    desk.record(ReleaseVolumes("service deleted"), error=Fault.CONFLICT)

    assert desk.row(VolumeRow) is not None


@pytest.mark.parametrize("action", [Pull(REF, "deploy"), Launch(0, 1, "first"), Stop("i", 0, "x")])
def test_revoked_outcome_leaves_every_row_alone(desk: Desk, action: Any) -> None:
    desk.record(action, revoked=True)

    assert desk.row(InstanceRow).phase == "pending"
    assert desk.row(ServiceRow).pull_failures == 0
    assert desk.kinds() == []
