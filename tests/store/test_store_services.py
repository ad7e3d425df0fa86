"""Declaring, changing and deleting services: what each write leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, cycle, repeat
from threading import Barrier, Thread
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.store.database import session_scope
from orchestrator.store.events import Events
from orchestrator.store.ports import NoPortLeft
from orchestrator.store.reads import Reads
from orchestrator.store.records import ServiceRecord
from orchestrator.store.schema import RevisionRow, ServiceRow, SlotRow
from orchestrator.store.services import Gone, NameTaken, ServiceStore, Stale
from tests.store.samples import NOW, a_spec, counting, create, endpoint, later, replace

Sessions = sessionmaker[Session]


def at_once(actions: list[Callable[[], Any]]) -> list[Any]:
    """Run all in threads that start together; the answers, exceptions among them."""
    barrier = Barrier(len(actions))
    answers: list[Any] = [None] * len(actions)

    def run(number: int) -> None:
        barrier.wait()
        try:
            answers[number] = actions[number]()
        except Exception as error:
            answers[number] = error

    threads = [Thread(target=run, args=(number,)) for number in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return answers


def test_created_service_is_read_back_as_declared(sessions: Sessions) -> None:
    spec = a_spec(instance_ports=[endpoint(22)], volumes=[{"app_volume_dir": "/data", "size_gb": 3}])
    with sessions() as session:
        answered = create(session, spec)

    with sessions() as session:
        found = Reads(session).service("ns", "web")
    assert found == answered
    assert answered.spec == spec
    assert (answered.generation, answered.observed_generation, answered.revision) == (1, 0, 1)
    assert (answered.current_status, answered.is_deploying, answered.started_at) == ("Deploying", True, NOW)
    assert (answered.created_by, answered.application, answered.full_name) == ("ann", "shop", "ns/web")


def test_service_created_stopped_is_not_deploying(sessions: Sessions) -> None:
    with sessions() as session:
        created = create(session, a_spec(target_state="STOPPED"))

    assert (created.current_status, created.is_deploying, created.started_at) == ("Stopped", False, None)


def test_taken_name_is_refused_and_leaves_nothing(sessions: Sessions) -> None:
    with sessions() as session:
        create(session, a_spec())
        with pytest.raises(NameTaken, match="App web already exists"):
            create(session, a_spec(image_tag="2"))

        assert Reads(session).page("ns", application=None, offset=0, limit=20)[1] == 1
        assert len(Events(session).list(None)) == 1


def test_same_name_in_another_namespace_is_free(sessions: Sessions) -> None:
    with sessions() as session:
        create(session, a_spec())
        assert create(session, a_spec(), namespace="other").namespace == "other"


def test_concurrent_creates_of_one_name_yield_exactly_one(sessions: Sessions) -> None:
    def attempt() -> ServiceRecord:
        with sessions() as session:
            return create(session, a_spec(instance_ports=[endpoint(22)]))

    answers = at_once([attempt] * 8)

    assert sorted(type(answer).__name__ for answer in answers) == ["NameTaken"] * 7 + ["ServiceRecord"]
    with sessions() as session:
        assert len(Events(session).list(None)) == 1


def test_changed_template_makes_a_new_revision_to_be_resolved(sessions: Sessions) -> None:
    with sessions() as session:
        changed = replace(session, create(session, a_spec()), image_tag="2")
        newest, first = Reads(session).revisions(changed.uuid)

    assert (changed.generation, changed.revision, changed.last_redeployed_at) == (2, 2, later(60))
    assert (newest.number, newest.generation, newest.image_id, newest.fingerprint) == (2, 2, None, None)
    assert newest.image_ref == "registry.example/web:2"
    assert first.spec.image_tag == "1"
    assert newest.template_hash != first.template_hash


@pytest.mark.parametrize(
    "change",
    [
        {"target_num_instances": 5},
        {"target_state": "STOPPED"},
        {"custom_domain_name": "www.example.org"},
        {"application": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_change_beside_the_template_makes_no_revision(sessions: Sessions, change: dict[str, Any]) -> None:
    with sessions() as session:
        changed = replace(session, create(session, a_spec()), **change)

        assert (changed.generation, changed.revision) == (2, 1)
        assert len(Reads(session).revisions(changed.uuid)) == 1
        assert "revision_created" not in [event.kind for event in Events(session).list(changed.uuid)]


def test_event_names_what_changed_but_no_secret(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec())
        replace(session, service, image_tag="2", instance_envvars={"PASSWORD": "new-secret"}, reason="changed by ann")
        created, updated, revision = Events(session).list(service.uuid)

    assert [created.kind, updated.kind, revision.kind] == ["created", "updated", "revision_created"]
    assert updated.reason == "changed by ann; image_tag 1 -> 2; instance_envvars changed"
    assert sorted(updated.data["fields"]) == ["image_tag", "instance_envvars"]
    assert revision.data["revision"] == 2
    assert updated.service_name == "ns/web"
    assert "secret" not in f"{created}{updated}{revision}"


def test_stop_and_start_move_their_times_and_keep_the_rest(sessions: Sessions) -> None:
    with sessions() as session:
        created = create(session, a_spec())
        stopped = replace(session, created, target_state="STOPPED", now=later(10))
        started = replace(session, stopped, target_state="STARTED", now=later(20))
        kinds = [event.kind for event in Events(session).list(created.uuid)]

    assert (stopped.started_at, stopped.stopped_at, stopped.is_deploying) == (NOW, later(10), True)
    assert (started.started_at, started.stopped_at) == (later(20), later(10))
    assert (started.spec, started.revision) == (created.spec, 1)
    assert kinds == ["created", "stopped", "started"]


def test_update_while_stopped_is_stored_and_shows_no_deploy(sessions: Sessions) -> None:
    with sessions() as session:
        changed = replace(session, create(session, a_spec(target_state="STOPPED")), image_tag="2")

    assert (changed.revision, changed.current_status, changed.is_deploying) == (2, "Stopped", False)
    assert changed.last_redeployed_at is None


def test_unchanged_write_leaves_no_trace_but_makes_a_retry_due(sessions: Sessions) -> None:
    with sessions() as session:
        created = create(session, a_spec())
        _fail_pull(sessions, created)
        same = replace(session, created)

        assert same == created
        assert len(Events(session).list(created.uuid)) == 1


def test_write_makes_failed_pull_and_failed_slots_due_at_once(sessions: Sessions) -> None:
    with sessions() as session:
        created = create(session, a_spec())
        _fail_pull(sessions, created)
        changed = replace(session, created, image_tag="2")

        assert session.get(SlotRow, (created.uuid, 0)) is None
    assert (changed.pull_failures, changed.pull_retry_at, changed.pull_reason) == (0, None, "")


def test_recheck_of_a_resolved_image_is_noted_without_a_revision(sessions: Sessions) -> None:
    with sessions() as session:
        created = create(session, a_spec())
        _resolve(sessions, created)
        checked = replace(session, created, recheck_image=True)
        scaled = replace(session, checked, target_num_instances=3)

    assert (checked.recheck_image, checked.generation, checked.revision) == (True, 2, 1)
    assert scaled.recheck_image, "a later write does not take the question back"


def test_recheck_of_an_image_not_yet_pulled_asks_for_nothing_more(sessions: Sessions) -> None:
    with sessions() as session:
        checked = replace(session, create(session, a_spec()), recheck_image=True)

    assert (checked.recheck_image, checked.generation) == (False, 2)


def test_write_upon_an_old_generation_is_stale_and_changes_nothing(sessions: Sessions) -> None:
    with sessions() as session:
        created = create(session, a_spec())
        replace(session, created, image_tag="2")
        with pytest.raises(Stale) as caught:
            replace(session, created, image_tag="3")

        assert (caught.value.expected, caught.value.actual) == (1, 2)
        assert Reads(session).revisions(created.uuid)[0].spec.image_tag == "2"


def test_concurrent_changes_lose_none(sessions: Sessions) -> None:
    with sessions() as session:
        uuid = create(session, a_spec(instance_envvars={})).uuid

    def add_variable(name: str) -> int:
        stale = 0
        while True:
            with sessions() as session:
                service = Reads(session).service_by_uuid(uuid)
                assert service is not None
                try:
                    replace(session, service, instance_envvars=service.spec.instance_envvars | {name: "1"})
                    return stale
                except Stale:
                    stale += 1

    answers = at_once([lambda name=name: add_variable(name) for name in "ABCDEF"])  # type: ignore[misc]

    assert all(isinstance(answer, int) for answer in answers), answers
    with sessions() as session:
        service = Reads(session).service_by_uuid(uuid)
        assert service is not None
        assert set(service.spec.instance_envvars) == set("ABCDEF")
        assert (service.generation, service.revision) == (7, 7)


def test_last_twenty_revisions_are_kept(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec())
        for tag in range(2, 25):
            service = replace(session, service, image_tag=str(tag))
        numbers = [revision.number for revision in Reads(session).revisions(service.uuid)]

    assert numbers == list(range(24, 4, -1))


def test_deleted_service_frees_its_name_and_keeps_its_record_for_the_worker(sessions: Sessions) -> None:
    with sessions() as session:
        created = create(session, a_spec())
        ServiceStore(session).delete(created.uuid, delete_volumes=True, now=later(5))
        reads = Reads(session)
        left = reads.service_by_uuid(created.uuid)

        assert reads.service("ns", "web") is None
        assert reads.page("ns", application=None, offset=0, limit=20) == ((), 0)
        assert left is not None
        assert (left.deleted_at, left.delete_volumes, left.generation) == (later(5), True, 2)
        assert create(session, a_spec()).uuid != created.uuid
        assert Events(session).list(created.uuid)[-1].kind == "deleted"


def test_writes_to_a_deleted_or_unknown_service_find_it_gone(sessions: Sessions) -> None:
    with sessions() as session:
        created = create(session, a_spec())
        store = ServiceStore(session)
        store.delete(created.uuid, delete_volumes=False, now=NOW)

        with pytest.raises(Gone):
            store.delete(created.uuid, delete_volumes=False, now=NOW)
        with pytest.raises(Gone):
            replace(session, created, image_tag="2")
        with pytest.raises(Gone):
            store.delete(str(uuid4()), delete_volumes=False, now=NOW)


def test_tcp_and_internal_endpoints_get_ports_of_their_own(sessions: Sessions) -> None:
    kinds = ("tcp-endpoint", "internal-endpoint", "http-endpoint", "direct-endpoint")
    with sessions() as session:
        created = create(session, a_spec(instance_ports=[endpoint(80, kind) for kind in kinds]))
        ports = Reads(session).ports([created.uuid])[created.uuid]

    assert {port.endpoint_type: port.service_port for port in ports} == {
        "tcp-endpoint": 20000,
        "internal-endpoint": 20001,
    }


def test_endpoint_that_comes_back_has_its_old_port(sessions: Sessions) -> None:
    with sessions() as session:
        created = create(session, a_spec(instance_ports=[endpoint(22)]))
        without = replace(session, created, instance_ports=[])
        replace(session, without, instance_ports=[endpoint(22), endpoint(23)], choose_port=counting(30000))
        ports = Reads(session).ports([created.uuid])[created.uuid]

    assert [(port.container_port, port.service_port) for port in ports] == [(22, 20000), (23, 30000)]


def test_taken_port_is_proposed_again_until_a_free_one_comes(sessions: Sessions) -> None:
    proposals = chain(repeat(20000, 5), [20001])
    with sessions() as session:
        create(session, a_spec("first", instance_ports=[endpoint(22)]))
        second = create(session, a_spec("second"))
        replace(session, second, instance_ports=[endpoint(22)], choose_port=lambda: next(proposals))
        assert Reads(session).ports([second.uuid])[second.uuid][0].service_port == 20001


def test_no_free_port_refuses_the_whole_write(sessions: Sessions) -> None:
    with sessions() as session:
        create(session, a_spec("first", instance_ports=[endpoint(22)]))
        second = create(session, a_spec("second"))
        with pytest.raises(NoPortLeft):
            replace(session, second, instance_ports=[endpoint(22)], choose_port=cycle([20000]).__next__)

        assert Reads(session).service_by_uuid(second.uuid) == second


def test_concurrent_creates_never_share_a_port(sessions: Sessions) -> None:
    def attempt(name: str) -> ServiceRecord:
        with sessions() as session:
            return create(session, a_spec(name, instance_ports=[endpoint(22)]))

    answers = at_once([lambda name=f"s{n}": attempt(name) for n in range(8)])  # type: ignore[misc]

    assert all(isinstance(answer, ServiceRecord) for answer in answers), answers
    with sessions() as session:
        ports = Reads(session).ports([answer.uuid for answer in answers])
    assert sorted(port.service_port for found in ports.values() for port in found) == list(range(20000, 20008))


def _fail_pull(sessions: Sessions, service: ServiceRecord) -> None:
    """As the worker writes it."""
    with session_scope(sessions, write=True) as session:
        row = session.get_one(ServiceRow, service.uuid)
        row.pull_failures, row.pull_retry_at, row.pull_reason = 3, later(300), "denied"
        session.add(SlotRow(service_uuid=service.uuid, slot=0, failures=4, retry_at=later(300)))


def _resolve(sessions: Sessions, service: ServiceRecord) -> None:
    """As the worker writes it."""
    with session_scope(sessions, write=True) as session:
        session.get_one(RevisionRow, (service.uuid, 1)).image_id = "sha256:" + "a" * 64
