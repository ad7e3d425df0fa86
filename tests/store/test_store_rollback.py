"""Rollbacks and restarts: by users, by the worker, and what a later write makes of them."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.actions import Rollback
from orchestrator.store.database import session_scope
from orchestrator.store.pass_writes import PassWrites
from orchestrator.store.reads import Reads
from orchestrator.store.records import RevisionRecord, ServiceRecord
from orchestrator.store.services import NoRevision, ServiceStore
from tests.store.samples import NOW, a_spec, create, later, replace

Sessions = sessionmaker[Session]


def resolve(sessions: Sessions, service: ServiceRecord, revision: int, *, good: bool = False) -> None:
    """The worker learns the image of a revision, and perhaps that all of it ran."""
    with session_scope(sessions, write=True) as session:
        writes = PassWrites(session, NOW)
        writes.resolve(service.uuid, revision, f"sha256:{revision}", f"web@sha256:{revision}")
        if good:
            writes.set_service(service.uuid, good_revision=revision)


def deployed_twice(sessions: Sessions) -> ServiceRecord:
    """Image 1 was good, image 2 is wanted."""
    with sessions() as session:
        service = create(session, a_spec())
    resolve(sessions, service, 1, good=True)
    with sessions() as session:
        service = replace(session, service, image_tag="2")
    resolve(sessions, service, 2)
    return service


def fail(sessions: Sessions, service: ServiceRecord) -> ServiceRecord:
    """The worker gives revision 2 up."""
    with session_scope(sessions, write=True) as session:
        PassWrites(session, later(9)).roll_back(
            service=(service.uuid, service.full_name),
            generation=service.generation,
            action=Rollback(2, 1, "exit code 3"),
        )
    return read(sessions, service)


def read(sessions: Sessions, service: ServiceRecord) -> ServiceRecord:
    with sessions() as session:
        found = Reads(session).service("ns", "web")
    assert found is not None
    return found


def revisions(sessions: Sessions, service: ServiceRecord) -> dict[int, RevisionRecord]:
    with sessions() as session:
        return {revision.number: revision for revision in Reads(session).revisions(service.uuid)}


def test_failed_rollout_runs_the_good_image_again_and_keeps_the_users_spec(sessions: Sessions) -> None:
    service = fail(sessions, deployed_twice(sessions))

    kept = revisions(sessions, service)
    assert (service.revision, service.good_revision) == (3, 3)
    assert kept[3].fingerprint == kept[1].fingerprint
    assert service.spec.image_tag == "2"
    assert service.rollout_failure == "revision 2 failed and was rolled back to revision 1: exit code 3"


def test_failure_told_too_late_does_not_undo_a_newer_write(sessions: Sessions) -> None:
    before = deployed_twice(sessions)
    with sessions() as session:
        replace(session, before, image_tag="3")

    service = fail(sessions, before)

    assert (service.revision, service.rollout_failure) == (3, "")
    assert revisions(sessions, service)[3].image_ref.endswith(":3")


def test_scaling_after_a_failed_rollout_does_not_deploy_it_again(sessions: Sessions) -> None:
    service = fail(sessions, deployed_twice(sessions))
    with sessions() as session:
        scaled = replace(session, service, target_num_instances=5)

    assert scaled.revision == 3
    assert scaled.rollout_failure != ""


def test_naming_the_image_after_a_failed_rollout_tries_it_again(sessions: Sessions) -> None:
    service = fail(sessions, deployed_twice(sessions))
    with sessions() as session:
        again = replace(session, service, recheck_image=True)

    assert again.revision == 4
    assert again.rollout_failure == ""
    assert revisions(sessions, again)[4].image_ref.endswith(":2")


def test_rollback_by_request_is_a_new_revision_of_the_very_image(sessions: Sessions) -> None:
    service = deployed_twice(sessions)
    with sessions() as session:
        scaled = replace(session, service, target_num_instances=7)
        back = ServiceStore(session).roll_back(scaled.uuid, to=None, now=later(5))

    kept = revisions(sessions, back)
    assert back.revision == 3
    assert (kept[3].image_id, kept[3].fingerprint) == (kept[1].image_id, kept[1].fingerprint)
    assert (back.spec.image_tag, back.spec.target_num_instances) == ("1", 7)


@pytest.mark.parametrize("to", [9, 3])
def test_rollback_to_what_is_not_kept_or_never_known_is_refused(sessions: Sessions, to: int) -> None:
    service = deployed_twice(sessions)
    with sessions() as session:
        replace(session, service, image_tag="3")
        with pytest.raises(NoRevision, match=f"revision {to} is not kept, or its image was never known"):
            ServiceStore(session).roll_back(service.uuid, to=to, now=NOW)


def test_rollback_of_a_first_revision_is_refused(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec())
        with pytest.raises(NoRevision, match="no earlier revision"):
            ServiceStore(session).roll_back(service.uuid, to=None, now=NOW)


def test_restart_is_the_same_template_and_image_under_another_fingerprint(sessions: Sessions) -> None:
    service = deployed_twice(sessions)
    with sessions() as session:
        first = ServiceStore(session).restart(service.uuid, now=later(5))
        second = ServiceStore(session).restart(service.uuid, now=later(6))

    kept = revisions(sessions, service)
    assert (first.revision, second.revision) == (3, 4)
    assert len({kept[n].fingerprint for n in (2, 3, 4)}) == 3
    assert {(kept[n].image_id, kept[n].template_hash) for n in (2, 3, 4)} == {("sha256:2", kept[2].template_hash)}


def test_restart_before_the_image_is_known_is_refused(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec())
        with pytest.raises(NoRevision, match="nothing to restart yet"):
            ServiceStore(session).restart(service.uuid, now=NOW)
