"""A custom domain has one holder, and moves in one write."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.spec import ServiceSpec
from orchestrator.store.domains import DomainTaken
from orchestrator.store.events import Events
from orchestrator.store.reads import Reads
from orchestrator.store.records import ServiceRecord
from orchestrator.store.services import ServiceStore, Stale
from tests.store.samples import NOW, a_spec, later
from tests.store.test_store_services import at_once

Sessions = sessionmaker[Session]
SHOP = "shop.example.com"
_PORTS = itertools.count(20000)


def create(sessions: Sessions, name: str, namespace: str = "ns", domain: str = "", take: bool = False) -> ServiceRecord:
    with sessions() as session:
        return ServiceStore(session, "base.test").create(
            namespace,
            a_spec(name, custom_domain_name=domain),
            uuid=f"{namespace}-{name}",
            created_by="ann",
            now=NOW,
            choose_port=lambda: next(_PORTS),
            take_domain=take,
        )


def claim(sessions: Sessions, service: ServiceRecord, domain: str = SHOP, take: bool = False) -> ServiceRecord:
    spec = ServiceSpec.model_validate(service.spec.model_dump(mode="json") | {"custom_domain_name": domain})
    with sessions() as session:
        return ServiceStore(session, "base.test").replace_spec(
            service.uuid,
            spec,
            now=later(60),
            expected_generation=service.generation,
            recheck_image=False,
            reason="",
            choose_port=lambda: next(_PORTS),
            take_domain=take,
        )


def read(sessions: Sessions, service: ServiceRecord) -> ServiceRecord:
    with sessions() as session:
        found = Reads(session).service(service.namespace, service.name)
    assert found is not None
    return found


def test_domain_of_another_service_is_refused_with_its_holder_and_the_way_to_move_it(sessions: Sessions) -> None:
    holder = create(sessions, "green", domain=SHOP)
    other = create(sessions, "blue", namespace="elsewhere")

    with pytest.raises(DomainTaken, match=r"belongs to service ns/green; .*\?take_domain=true"):
        claim(sessions, other)
    with pytest.raises(DomainTaken, match="ns/green"):
        create(sessions, "third", domain=SHOP.upper())

    assert read(sessions, other).generation == 1
    assert read(sessions, holder).spec.custom_domain_name == SHOP


def test_taking_moves_it_in_one_write_with_an_event_on_both_sides(sessions: Sessions) -> None:
    holder, other = create(sessions, "green", domain=SHOP), create(sessions, "blue")

    taken = claim(sessions, other, take=True)

    lost = read(sessions, holder)
    assert (taken.spec.custom_domain_name, lost.spec.custom_domain_name) == (SHOP, "")
    assert (taken.generation, lost.generation, lost.revision) == (2, 2, 1)
    for service in (holder, other):
        with sessions() as session:
            events = [e for e in Events(session).list(service.uuid, limit=99) if e.kind == "domain_moved"]
        assert [event.reason for event in events] == [f"{SHOP} moved from ns/green to ns/blue"]


def test_new_service_can_take_a_domain_and_a_deleted_one_holds_none(sessions: Sessions) -> None:
    holder = create(sessions, "green", domain=SHOP)
    second = create(sessions, "blue", domain=SHOP, take=True)
    assert read(sessions, holder).spec.custom_domain_name == ""

    with sessions() as session:
        ServiceStore(session).delete(second.uuid, delete_volumes=False, now=later(1))
    assert create(sessions, "third", domain=SHOP).spec.custom_domain_name == SHOP


def test_default_domain_of_a_service_can_not_be_taken_by_another(sessions: Sessions) -> None:
    create(sessions, "green")
    other = create(sessions, "blue")

    for take in (False, True):
        with pytest.raises(DomainTaken, match="is the default domain of service ns/green"):
            claim(sessions, other, "Green-ns.base.test", take)
    assert claim(sessions, other, "blue-ns.base.test").spec.custom_domain_name == "blue-ns.base.test"


def test_write_that_keeps_its_domain_is_not_asked_again(sessions: Sessions) -> None:
    holder = create(sessions, "green", domain=SHOP)

    assert claim(sessions, holder).generation == 1
    assert claim(sessions, holder, take=True).generation == 1
    assert claim(sessions, holder, "").spec.custom_domain_name == ""


def test_write_read_before_its_domain_was_taken_is_stale_and_does_not_claim_it_back(sessions: Sessions) -> None:
    holder, other = create(sessions, "green", domain=SHOP), create(sessions, "blue")
    claim(sessions, other, take=True)

    with pytest.raises(Stale):
        claim(sessions, holder)


def test_of_many_who_claim_at_once_one_gets_it(sessions: Sessions) -> None:
    services = [create(sessions, f"s{n}") for n in range(6)]
    claims: list[Callable[[], object]] = [lambda service=s: claim(sessions, service) for s in services]  # type: ignore[misc]

    answers = at_once(claims)

    assert sum(isinstance(answer, ServiceRecord) for answer in answers) == 1, answers
    assert sum(isinstance(answer, DomainTaken) for answer in answers) == 5, answers


def test_many_who_take_it_at_once_leave_one_holder(sessions: Sessions) -> None:
    services = [create(sessions, f"s{n}", domain=SHOP, take=True) for n in range(4)]
    takers: list[Callable[[], object]] = [
        lambda service=s: claim(sessions, read(sessions, service), take=True)  # type: ignore[misc]
        for s in services
    ]

    answers = at_once(takers)

    assert all(isinstance(answer, ServiceRecord | Stale) for answer in answers), answers
    assert sum(read(sessions, s).spec.custom_domain_name == SHOP for s in services) == 1
