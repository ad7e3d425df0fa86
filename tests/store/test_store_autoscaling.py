"""The number of instances while AUTO: beside the spec, the user's word first, and where wait periods begin."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.store.autoscaling import Autoscaling
from orchestrator.store.database import migrate, session_scope
from orchestrator.store.events import Events
from orchestrator.store.passes import PassReads
from orchestrator.store.reads import Reads
from orchestrator.store.records import ServiceRecord
from orchestrator.store.schema import ServiceRow
from orchestrator.store.services import ServiceStore
from tests.store.samples import NOW, a_spec, create, later, replace
from tests.unit.spec_samples import CONFIG

Sessions = sessionmaker[Session]
AUTO: dict[str, Any] = {"scaling_mode": "AUTO", "autoscaling_config": CONFIG}


def service(sessions: Sessions, name: str = "web") -> ServiceRecord:
    with sessions() as session:
        found = Reads(session).service("ns", name)
    assert found is not None
    return found


def declare(sessions: Sessions, **changes: Any) -> ServiceRecord:
    with sessions() as session:
        return create(session, a_spec(**changes))


def change(sessions: Sessions, **changes: Any) -> ServiceRecord:
    with sessions() as session:
        return replace(session, service(sessions), **changes)


def scale(sessions: Sessions, target: int, seconds: float = 10) -> bool:
    """As the autoscaler does, `seconds` after NOW."""
    with session_scope(sessions, write=True) as session:
        return Autoscaling(session).act(service(sessions), target, later(seconds))


def wanted(sessions: Sessions) -> int:
    """What a pass would bring about."""
    with sessions() as session:
        return PassReads(session).load()[0].desired.count


def test_service_made_auto_starts_with_its_declared_number(sessions: Sessions) -> None:
    declare(sessions, target_num_instances=3, **AUTO)

    found = service(sessions)
    assert (found.count, found.scale_target, wanted(sessions)) == (3, 3, 3)
    assert (found.scaled_at, found.last_autoscaled_at) == (None, None)


def test_autoscaler_moves_the_target_and_leaves_spec_and_generation(sessions: Sessions) -> None:
    before = declare(sessions, **AUTO)

    assert scale(sessions, 5, seconds=10)

    after = service(sessions)
    assert (after.spec, after.generation, after.updated_at) == (before.spec, before.generation, before.updated_at)
    assert (after.count, wanted(sessions)) == (5, 5)
    assert (after.last_autoscaled_at, after.scaled_at) == (later(10), later(10))


@pytest.mark.parametrize("named", [2, 4])
def test_number_named_by_the_user_wins_over_the_autoscalers(sessions: Sessions, named: int) -> None:
    """Also when it is the one that stands in the spec already."""
    declare(sessions, **AUTO)
    scale(sessions, 5)

    changed = change(sessions, target_num_instances=named, counted=True, now=later(60))

    assert (changed.count, changed.spec.target_num_instances, wanted(sessions)) == (named, named, named)
    assert (changed.generation, changed.scaled_at, changed.last_autoscaled_at) == (2, later(60), later(10))
    with sessions() as session:
        told = Events(session).list(changed.uuid)[-1]
    assert told.reason == f"target_num_instances 5 -> {named}"


def test_number_that_was_reached_becomes_the_users_own_when_he_names_it(sessions: Sessions) -> None:
    declare(sessions, **AUTO)
    scale(sessions, 5)

    changed = change(sessions, target_num_instances=5, counted=True)

    assert (changed.count, changed.spec.target_num_instances, changed.generation) == (5, 5, 2)
    assert changed.scaled_at == later(60)


def test_write_that_names_what_is_there_leaves_no_trace(sessions: Sessions) -> None:
    before = declare(sessions, **AUTO)

    assert change(sessions, target_num_instances=2, counted=True) == before


def test_other_changes_keep_what_was_reached(sessions: Sessions) -> None:
    declare(sessions, **AUTO)
    scale(sessions, 5)

    changed = change(sessions, image_tag="2")

    assert (changed.count, changed.spec.target_num_instances, changed.scaled_at) == (5, 2, later(10))


def test_manual_without_a_number_keeps_what_was_reached(sessions: Sessions) -> None:
    declare(sessions, **AUTO)
    scale(sessions, 5)

    changed = change(sessions, scaling_mode="MANUAL")

    assert (changed.spec.target_num_instances, changed.scale_target, wanted(sessions)) == (5, None, 5)
    assert changed.current_status == "Deploying"


def test_manual_with_a_number_takes_it(sessions: Sessions) -> None:
    """The one that the spec has had all the time, too."""
    declare(sessions, **AUTO)
    scale(sessions, 5)

    changed = change(sessions, scaling_mode="MANUAL", target_num_instances=2, counted=True)

    assert (changed.spec.target_num_instances, changed.scale_target, wanted(sessions)) == (2, None, 2)


@pytest.mark.parametrize(("named", "count"), [(None, 2), (4, 4)])
def test_auto_starts_with_the_number_that_is_there_or_named(sessions: Sessions, named: int | None, count: int) -> None:
    declare(sessions)

    changed = change(sessions, **AUTO, **({} if named is None else {"target_num_instances": named, "counted": True}))

    assert (changed.count, changed.spec.target_num_instances, wanted(sessions)) == (count, count, count)
    assert changed.scaled_at == (None if named is None else later(60))


def test_stop_and_start_keep_the_target(sessions: Sessions) -> None:
    declare(sessions, **AUTO)
    scale(sessions, 5)

    change(sessions, target_state="STOPPED")
    with sessions() as session:
        assert Autoscaling(session).candidates() == []
    started = change(sessions, target_state="STARTED")

    assert (started.count, started.spec.target_num_instances, started.scaled_at) == (5, 2, later(10))


def test_users_write_in_between_wins(sessions: Sessions) -> None:
    read = declare(sessions, **AUTO)
    change(sessions, target_num_instances=4, counted=True)

    with session_scope(sessions, write=True) as session:
        assert not Autoscaling(session).act(read, 3, later(70))
        assert not Autoscaling(session).settled(read, later(70))

    assert service(sessions).count == 4


def test_deleted_service_is_not_scaled(sessions: Sessions) -> None:
    read = declare(sessions, **AUTO)
    with sessions() as session:
        ServiceStore(session).delete(read.uuid, delete_volumes=False, now=later(1))

    with session_scope(sessions, write=True) as session:
        assert Autoscaling(session).candidates() == []
        assert not Autoscaling(session).act(read, 3, later(70))


def test_end_of_an_action_moves_the_beginning_of_the_wait_period(sessions: Sessions) -> None:
    declare(sessions, **AUTO)
    scale(sessions, 5, seconds=10)
    with session_scope(sessions, write=True) as session:
        Autoscaling(session).settled(service(sessions), later(25))

    found = service(sessions)
    assert (found.scaled_at, found.last_autoscaled_at, found.scaling_by) == (later(25), later(25), "")


def test_end_of_a_users_change_is_no_action_of_the_autoscaler(sessions: Sessions) -> None:
    declare(sessions, **AUTO)
    change(sessions, target_num_instances=4, counted=True, now=later(60))
    with session_scope(sessions, write=True) as session:
        Autoscaling(session).settled(service(sessions), later(75))

    found = service(sessions)
    assert (found.scaled_at, found.last_autoscaled_at, found.scaling_by) == (later(75), None, "")


def test_only_started_auto_services_are_candidates(sessions: Sessions) -> None:
    made = declare(sessions, **AUTO)
    with sessions() as session:
        create(session, a_spec("manual"))
        create(session, a_spec("stopped", target_state="STOPPED", **AUTO))

    with sessions() as session:
        store = Autoscaling(session)
        assert [found.uuid for found in store.candidates()] == [made.uuid]
        assert store.candidates([]) == []
        assert [found.uuid for found in store.candidates([made.uuid])] == [made.uuid]


def test_round_takes_the_place_of_the_one_before(sessions: Sessions) -> None:
    for value in (0.5, 0.7):
        with session_scope(sessions, write=True) as session:
            Autoscaling(session).keep_round(NOW, {"a": {"value": value}})

    with sessions() as session:
        assert Autoscaling(session).last_round() == {"a": {"value": 0.7}}


def test_auto_service_of_an_older_version_gets_its_declared_number(sessions: Sessions, database_url: str) -> None:
    declare(sessions, **AUTO)
    with sessions() as session:
        create(session, a_spec("manual"))
    with session_scope(sessions, write=True) as session:
        session.query(ServiceRow).update({"scale_target": None})
        for statement in (
            "DROP TABLE autoscaler_rounds",
            "DROP INDEX ix_services_scale_target",
            "ALTER TABLE services DROP COLUMN scaled_at",
            "ALTER TABLE services DROP COLUMN scaling_by",
            "UPDATE alembic_version SET version_num = '0004'",
        ):
            session.execute(text(statement))

    migrate(database_url)

    assert (service(sessions).scale_target, service(sessions, "manual").scale_target) == (2, None)
