"""What answers are made from: pages, instances, volumes, and the events."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.state import Health, Phase
from orchestrator.store.database import session_scope
from orchestrator.store.events import Events
from orchestrator.store.reads import Reads
from orchestrator.store.schema import InstanceRow, VolumeRow
from tests.store.samples import NOW, a_spec, create, later

Sessions = sessionmaker[Session]


def an_instance(uuid: str, slot: int = 0, **columns: Any) -> InstanceRow:
    defaults = {"service_uuid": "s1", "revision": 1, "fingerprint": "f" * 12, "phase": "running", "created_at": NOW}
    return InstanceRow(uuid=uuid, slot=slot, **(defaults | columns))


def a_volume(name: str, **columns: Any) -> VolumeRow:
    defaults = {"service_uuid": "s1", "service_name": "ns/web", "region": "R", "path": "/d", "size_gb": 1}
    return VolumeRow(name=name, created_at=NOW, **(defaults | {"slot": 0} | columns))


def test_page_is_oldest_first_and_counts_all(sessions: Sessions) -> None:
    with sessions() as session:
        for number in (3, 1, 2):
            create(session, a_spec(f"s{number}"), now=later(number))
        create(session, a_spec("elsewhere"), namespace="other")
        page, count = Reads(session).page("ns", application=None, offset=1, limit=2)

    assert ([service.name for service in page], count) == (["s2", "s3"], 3)


def test_page_of_an_application_has_only_its_services(sessions: Sessions) -> None:
    with sessions() as session:
        create(session, a_spec("a", application="one"))
        create(session, a_spec("b", application="two"))
        page, count = Reads(session).page("ns", application="two", offset=0, limit=20)

    assert ([service.name for service in page], count) == (["b"], 1)


def test_page_past_the_end_is_empty_and_still_counts(sessions: Sessions) -> None:
    with sessions() as session:
        create(session, a_spec())
        assert Reads(session).page("ns", application=None, offset=20, limit=20) == ((), 1)


def test_living_instances_come_by_slot_then_age_for_every_service_asked(sessions: Sessions) -> None:
    with session_scope(sessions, write=True) as session:
        session.add_all(
            [
                an_instance("new", 0, created_at=later(1)),
                an_instance("old", 0),
                an_instance("second", 1, created_at=later(-9)),
                an_instance("past", 0, gone_at=NOW, phase="gone"),
                an_instance("other", 0, service_uuid="s2"),
            ]
        )
    with sessions() as session:
        found = Reads(session).instances(["s1", "s3"])

    assert [instance.uuid for instance in found["s1"]] == ["old", "new", "second"]
    assert found["s3"] == ()
    assert "s2" not in found


def test_past_instance_is_found_by_its_uuid_in_its_own_service_only(sessions: Sessions) -> None:
    with session_scope(sessions, write=True) as session:
        session.add(an_instance("past", gone_at=NOW, phase="gone", health="healthy", ports=[[80, "tcp", 31000]]))
    with sessions() as session:
        found = Reads(session).instance("s1", "past")
        assert Reads(session).instance("s2", "past") is None

    assert found is not None
    assert (found.phase, found.health, found.ports) == (Phase.GONE, Health.HEALTHY, ((80, "tcp", 31000),))


def test_volumes_come_by_slot_and_orphans_apart(sessions: Sessions) -> None:
    with session_scope(sessions, write=True) as session:
        session.add_all(
            [
                a_volume("b", slot=1, used_bytes=2**40),
                a_volume("a2", path="/z"),
                a_volume("a1"),
                a_volume("o2", service_uuid="s9", orphaned_at=later(2)),
                a_volume("o1", service_uuid="s8", orphaned_at=later(1)),
            ]
        )
    with sessions() as session:
        found, orphans = Reads(session).volumes(["s1"]), Reads(session).orphan_volumes()

    assert [volume.name for volume in found["s1"]] == ["a1", "a2", "b"]
    assert found["s1"][2].used_bytes == 2**40
    assert [volume.name for volume in orphans] == ["o1", "o2"]


def test_what_is_not_there_is_none_or_empty(sessions: Sessions) -> None:
    with sessions() as session:
        reads = Reads(session)
        assert reads.service("ns", "web") is None
        assert reads.service_by_uuid("nobody") is None
        assert reads.heartbeat("worker") is None
        assert reads.revisions("nobody") == ()
        assert reads.ports(["nobody"]) == {"nobody": ()}


def test_records_are_frozen_and_times_are_utc_to_the_microsecond(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec())
        found = Reads(session).service_by_uuid(service.uuid)

    assert found is not None
    assert found.created_at == NOW
    assert found.created_at.tzinfo is not None
    with pytest.raises(FrozenInstanceError):
        found.generation = 9  # type: ignore[misc]


def test_events_are_listed_both_ways_and_from_a_place_on(sessions: Sessions) -> None:
    with session_scope(sessions, write=True) as session:
        for number in range(5):
            Events(session).add(at=later(number), kind=f"k{number}", reason="r", service_uuid="s1", data={"n": number})
        Events(session).add(at=NOW, kind="engine_back", reason="it answers")
    with sessions() as session:
        events = Events(session)
        ascending = events.list("s1", limit=3)
        rest = events.list("s1", after=ascending[-1].id)
        newest = events.list(None, limit=2, newest_first=True)

    assert [event.kind for event in ascending] == ["k0", "k1", "k2"]
    assert [event.kind for event in rest] == ["k3", "k4"]
    assert [event.kind for event in newest] == ["engine_back", "k4"]
    assert newest[1].data == {"n": 4}


def test_purged_events_are_gone_and_their_ids_never_come_back(sessions: Sessions) -> None:
    with session_scope(sessions, write=True) as session:
        for number in range(3):
            Events(session).add(at=later(number), kind="old", reason="")
    with session_scope(sessions, write=True) as session:
        last = Events(session).list(None)[-1].id
        assert Events(session).purge(later(10)) == 3
        Events(session).add(at=later(20), kind="new", reason="")
    with sessions() as session:
        assert [event.kind for event in Events(session).list(None, after=last)] == ["new"]


def test_event_not_committed_is_not_there(sessions: Sessions) -> None:
    with sessions() as session:
        Events(session).add(at=NOW, kind="created", reason="")
    with sessions() as session:
        assert Events(session).list(None) == ()
