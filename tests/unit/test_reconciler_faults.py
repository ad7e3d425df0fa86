"""The reconcile pass when things go wrong: pulls that fail, images lost, broken rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from orchestrator.bookkeeper import Bookkeeper
from orchestrator.engine.base import RegistryAuth
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.store.schema import RevisionRow, ServiceRow
from tests.support.rig import IMAGE, Rig

HOST = "registry.example"


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(sqlite_url, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("fault", "first_wait_seconds"),
    [
        (Fault.REGISTRY_UNREACHABLE, 1),
        (Fault.REGISTRY_UNKNOWN_HOST, 10),
        (Fault.REGISTRY_DENIED, 10),
        (Fault.IMAGE_NOT_FOUND, 10),
        (Fault.NO_SPACE, 1),
        (Fault.TIMEOUT, 1),
    ],
)
def test_failing_pull_is_told_retried_with_back_off_and_healed_alone(
    rig: Rig, fault: Fault, first_wait_seconds: float
) -> None:
    rig.engine.world.broken_hosts[HOST] = fault
    rig.create()
    rig.run_pass()
    report = rig.run_pass()

    event = rig.events("pull_failed")[0]
    assert event.data["fault"] == fault.value
    assert event.reason == f"{fault.value}: registry {HOST} does not answer"
    assert rig.status() == ("StartError", f"image can't be pulled: {event.reason} (1 failure in a row)")
    assert (min(report.wake.values()) - rig.now).total_seconds() == first_wait_seconds

    rig.after(first_wait_seconds)
    rig.run_pass()
    rig.run_pass()
    assert [e.data["failures"] for e in rig.events("pull_failed")] == [1, 2]

    del rig.engine.world.broken_hosts[HOST]
    rig.converge()
    assert rig.status() == ("Running", "1 of 1 instance running")


def test_waiting_pull_costs_no_engine_call_but_the_list(rig: Rig) -> None:
    rig.engine.world.broken_hosts[HOST] = Fault.REGISTRY_DENIED
    rig.create()
    rig.run_pass()
    rig.run_pass()

    calls, writes = rig.counted(rig.run_pass)
    assert calls == {"list_containers": 1}
    assert writes == []


def test_missing_tag_is_healed_by_a_push(rig: Rig) -> None:
    rig.create(image_tag="9")
    rig.run_pass()
    rig.run_pass()
    assert "image_not_found: manifest for registry.example/web:9 not found" in rig.status()[1]

    rig.engine.world.push(f"{IMAGE}:9", "9")
    rig.converge()
    assert len(rig.ids()) == 1


def test_operators_credentials_are_used_for_their_registry(sqlite_url: str, tmp_path: Path) -> None:
    rig = Rig(sqlite_url, tmp_path, registries={HOST: RegistryAuth("ann", "secret")})
    rig.engine.world.passwords[HOST] = RegistryAuth("ann", "secret")
    rig.create()
    rig.converge()

    assert len(rig.ids()) == 1
    rig.close()


def test_update_to_a_bad_tag_keeps_the_old_revision_running_and_healing(rig: Rig) -> None:
    rig.create(target_num_instances=2)
    rig.converge()
    before = rig.ids()
    rig.change(image_tag="missing")
    rig.run_pass()
    rig.run_pass()
    assert rig.ids() == before
    assert rig.status()[0] == "Running"
    assert "image_not_found" in rig.status()[1]

    rig.engine.die(before[0])
    rig.run_pass()
    assert sorted(rig.ids()) == [0, 1]
    assert {c.image.id for c in rig.containers().values()} == {rig.engine.world.registry[f"{IMAGE}:1"].id}


def test_recheck_of_an_unmoved_tag_restarts_nothing(rig: Rig) -> None:
    rig.create(target_num_instances=2)
    rig.converge()
    before, pulls = rig.ids(), rig.engine.calls["pull"]
    rig.change(recheck_image=True)
    rig.converge()

    assert rig.engine.calls["pull"] == pulls + 1
    assert rig.ids() == before
    assert rig.service().revision == 1


def test_recheck_of_a_moved_tag_makes_a_new_revision_and_replaces_all(rig: Rig) -> None:
    rig.create(target_num_instances=2)
    rig.converge()
    before = rig.ids()
    moved = rig.engine.world.push(f"{IMAGE}:1", "moved")
    rig.change(recheck_image=True)
    rig.converge()

    assert rig.service().revision == 2
    assert not set(rig.ids().values()) & set(before.values())
    assert {c.image.id for c in rig.containers().values()} == {moved.id}
    assert "moved to" in rig.events("image_resolved")[-1].reason


def test_tag_that_moved_without_a_deploy_changes_nothing(rig: Rig) -> None:
    first = rig.engine.world.registry[f"{IMAGE}:1"]
    rig.create()
    rig.converge()
    rig.engine.world.push(f"{IMAGE}:1", "moved")
    rig.engine.die(rig.ids()[0])
    rig.converge()

    assert {c.image.id for c in rig.containers().values()} == {first.id}


def test_image_that_the_engine_lost_is_fetched_again_by_its_digest(rig: Rig) -> None:
    first = rig.engine.world.registry[f"{IMAGE}:1"]
    rig.create()
    rig.converge()
    rig.engine.world.images.clear()
    rig.engine.world.push(f"{IMAGE}:1", "moved")
    rig.engine.die(rig.ids()[0])
    rig.converge()

    assert {c.image.id for c in rig.containers().values()} == {first.id}
    assert rig.service().revision == 1


def test_recheck_is_not_forgotten_over_a_lost_image(rig: Rig) -> None:
    """The image is fetched by its digest first; the user still asked whether the tag moved."""
    rig.create()
    rig.converge()
    moved = rig.engine.world.push(f"{IMAGE}:1", "moved")
    with rig.sessions() as session:
        session.execute(update(ServiceRow).values(image_missing=True))
        session.commit()
    rig.change(recheck_image=True)
    rig.converge()

    assert {c.image.id for c in rig.containers().values()} == {moved.id}


def test_launch_that_fails_is_told_and_retried(rig: Rig) -> None:
    rig.create(run_command="nonsense")
    rig.engine.fail_next("start_container", EngineError(Fault.BAD_COMMAND, "no such file"))
    rig.run_pass()
    rig.run_pass()
    rig.run_pass()

    assert rig.events("launch_failed")[0].reason == "bad_command: no such file"
    assert rig.status() == ("StartError", "slot 0 failed 1 time in a row, restarts back off: bad_command: no such file")
    assert not rig.containers()
    rig.change(run_command="sleep 9")
    rig.converge()
    assert rig.status() == ("Running", "1 of 1 instance running")


def test_passing_engine_trouble_is_not_counted_against_the_slot(rig: Rig) -> None:
    rig.create()
    rig.run_pass()
    for fault in (Fault.CONFLICT, Fault.TIMEOUT, Fault.UNREACHABLE, Fault.NOT_FOUND):
        rig.engine.fail_next("create_container", EngineError(fault, "later"))
    rig.converge()

    assert len(rig.containers()) == 1
    assert not rig.events("launch_failed")


def corrupt(rig: Rig, name: str, spec: Any) -> None:
    with rig.sessions() as session:
        uuid = rig.service(name).uuid
        session.execute(update(RevisionRow).where(RevisionRow.service_uuid == uuid).values(spec=spec))
        session.commit()


def test_broken_service_says_so_once_and_stops_no_other(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.create("a-broken")
    corrupt(rig, "a-broken", {"nonsense": True})
    rig.create("fine")
    for _ in range(6):
        rig.run_pass()

    assert len(rig.ids("fine")) == 1
    assert rig.status("a-broken")[0] == "Error"
    assert rig.status("a-broken")[1].startswith("internal error")
    assert rig.service("a-broken").observed_generation == 1
    assert len([r for r in caplog.records if "planning failed" in r.getMessage()]) == 1
    calls, writes = rig.counted(rig.run_pass)
    assert writes == []
    assert calls == {"list_containers": 1}


def test_broken_service_heals_when_its_user_declares_it_anew(rig: Rig) -> None:
    rig.create("web")
    corrupt(rig, "web", {"nonsense": True})
    for _ in range(4):
        rig.run_pass()
    rig.change("web", run_command="sleep 1")
    rig.converge()

    assert rig.status() == ("Running", "1 of 1 instance running")


def test_service_linked_to_a_broken_one_runs(rig: Rig) -> None:
    rig.create("db")
    with rig.sessions() as session:
        session.execute(update(ServiceRow).values(spec={"service_name": "db"}))
        session.commit()
    rig.create("web", linked_to_apps={"db": "db"})
    for _ in range(4):
        rig.run_pass()

    assert len(rig.ids("web")) == 1


@pytest.mark.parametrize("ending", ["stop", "delete"])
def test_broken_service_can_still_be_ended(rig: Rig, ending: str) -> None:
    rig.create("web")
    rig.converge()
    corrupt(rig, "web", {"nonsense": True})
    if ending == "delete":
        rig.delete("web")
    else:
        rig.change("web", target_state="STOPPED")
    rig.converge()

    assert not rig.containers()


def test_broken_running_service_keeps_its_instances(rig: Rig) -> None:
    rig.create("web", target_num_instances=2)
    rig.converge()
    before = rig.ids()
    corrupt(rig, "web", {"nonsense": True})
    rig.engine.die(before[1])
    for _ in range(3):
        rig.run_pass()

    assert rig.ids() == {0: before[0]}


@pytest.mark.parametrize("damage", ["no target_state", "no revision", "no JSON"])
def test_service_row_that_can_not_be_read_stops_no_other_and_loses_no_container(rig: Rig, damage: str) -> None:
    broken = rig.create("broken").uuid
    rig.converge()
    before = rig.ids("broken")
    with rig.sessions() as session:
        row = session.get(ServiceRow, broken)
        assert row is not None
        if damage == "no revision":
            session.execute(text("DELETE FROM revisions"))
        else:
            row.spec = {"service_name": "broken"} if damage == "no target_state" else row.spec
        session.commit()
        if damage == "no JSON":
            session.execute(text("UPDATE revisions SET spec = 'no JSON'"))
            session.commit()
    rig.create("fine")
    for _ in range(6):
        rig.run_pass()
        rig.after(1)

    assert len(rig.ids("fine")) == 1
    assert rig.ids("broken") == before


class Stumbling(Bookkeeper):
    """A bookkeeper with a bug."""

    def _launched(self, *arguments: Any) -> None:
        raise AssertionError("a bug")


def test_outcome_that_can_not_be_recorded_does_not_end_all_passes(rig: Rig) -> None:
    rig.create()
    rig.run_pass()
    rig.reconciler._bookkeeper = Stumbling(lambda: 0.5)
    rig.converge()

    assert len(rig.ids()) == 1
    assert rig.status() == ("Running", "1 of 1 instance running")
