"""What the proxy and the prober learn while a rollout changes ports: each instance listens as its own revision says."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from orchestrator.ingress.routes import Backend, route_table
from orchestrator.readiness import Probe
from orchestrator.state import Instance, Phase
from orchestrator.store.database import session_scope
from orchestrator.store.pass_writes import PassWrites
from orchestrator.store.passes import Loaded, PassReads
from orchestrator.store.records import ServiceRecord
from orchestrator.store.route_reads import routed_services
from tests.store.samples import NOW, a_spec, create, endpoint, replace

Sessions = sessionmaker[Session]
WEB, SSH = endpoint(80, "http-endpoint"), endpoint(22)


def run(sessions: Sessions, service: ServiceRecord, revision: int, slot: int) -> Instance:
    """A ready instance of that revision."""
    with session_scope(sessions, write=True) as session:
        writes = PassWrites(session, NOW)
        fingerprint = writes.resolve(service.uuid, revision, f"sha256:{revision}", None) or ""
        address = f"10.0.0.{revision}{slot}"
        made = Instance(f"i{revision}-{slot}", slot, fingerprint, Phase.RUNNING, ready_at=NOW, address=address)
        writes.add_instance(service.uuid, revision, made)
    return made


def change(sessions: Sessions, service: ServiceRecord, **changes: Any) -> ServiceRecord:
    with sessions() as session:
        return replace(session, service, **changes)


def backends(sessions: Sessions) -> dict[str, Backend]:
    with sessions() as session:
        return {b.key: b for b in route_table(routed_services(session, "base.test")).backends}


def servers(backend: Backend) -> dict[str, int]:
    return {server.name: server.port for server in backend.servers}


def load(sessions: Sessions) -> Loaded:
    with sessions() as session:
        return PassReads(session).load()[0]


def test_each_server_of_an_http_endpoint_has_the_port_of_its_own_revision(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec(instance_ports=[WEB]))
    run(sessions, service, 1, 0)
    service = change(sessions, service, instance_ports=[endpoint(8080, "http-endpoint")])
    key = f"http_{service.uuid}"
    assert servers(backends(sessions)[key]) == {"i1-0": 80}

    run(sessions, service, 2, 1)

    assert servers(backends(sessions)[key]) == {"i1-0": 80, "i2-1": 8080}


def test_endpoint_that_is_to_go_is_routed_as_long_as_an_instance_has_it(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec(instance_ports=[WEB, SSH]))
    old = run(sessions, service, 1, 0)
    service = change(sessions, service, instance_ports=[endpoint(2222)])
    run(sessions, service, 2, 1)
    http, ssh, new = f"http_{service.uuid}", f"tcp_{service.uuid}_22", f"tcp_{service.uuid}_2222"

    found = backends(sessions)
    assert {key: servers(backend) for key, backend in found.items()} == {
        http: {"i1-0": 80},
        ssh: {"i1-0": 22},
        new: {"i2-1": 2222},
    }

    with session_scope(sessions, write=True) as session:
        PassWrites(session, NOW).close_instance(old.uuid)
    assert set(backends(sessions)) == {new}


def test_tcp_endpoint_whose_port_stays_is_served_by_old_and_new_alike(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec(instance_ports=[SSH]))
    run(sessions, service, 1, 0)
    service = change(sessions, service, image_tag="2")
    run(sessions, service, 2, 1)

    assert servers(backends(sessions)[f"tcp_{service.uuid}_22"]) == {"i1-0": 22, "i2-1": 22}


def test_instance_is_probed_on_the_ports_of_its_own_revision(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec(instance_ports=[WEB], deployment_preference={"health": {"path": "/old"}}))
    old = run(sessions, service, 1, 0)
    assert load(sessions).probe_of(old) == Probe((80,), "/old")
    health = {"health": {"path": "/new", "port": 8080}}

    service = change(sessions, service, instance_ports=[endpoint(8080, "http-endpoint")], deployment_preference=health)
    new = run(sessions, service, 2, 1)

    loaded = load(sessions)
    assert loaded.probe_of(new) == Probe((8080,), "/new")
    assert loaded.probe_of(old) == Probe((80,), "/old")


def test_new_probe_with_unchanged_ports_is_asked_of_old_instances_too(sessions: Sessions) -> None:
    with sessions() as session:
        service = create(session, a_spec(instance_ports=[WEB]))
    old = run(sessions, service, 1, 0)

    change(sessions, service, image_tag="2", deployment_preference={"health": {"path": "/up"}})

    assert load(sessions).probe_of(old) == Probe((80,), "/up")


def test_who_may_sleep_is_automatic_from_zero_and_started(sessions: Sessions) -> None:
    scaling = {"lower_threshold": "0.2", "upper_threshold": "0.8", "maximum_num_instances": 3}
    from_zero: dict[str, Any] = {"scaling_mode": "AUTO", "autoscaling_config": scaling | {"minimum_num_instances": 0}}
    with sessions() as session:
        service = create(session, a_spec(instance_ports=[WEB], **from_zero))
    key = f"http_{service.uuid}"
    assert backends(sessions)[key].may_sleep
    assert load(sessions).desired.may_sleep

    others: list[dict[str, Any]] = [
        {"autoscaling_config": scaling | {"minimum_num_instances": 1}},
        {"scaling_mode": "MANUAL"},
        {"target_state": "STOPPED"},
    ]
    for changes in others:
        service = change(sessions, service, **(from_zero | {"target_state": "STARTED"} | changes))
        assert not backends(sessions)[key].may_sleep
        assert not load(sessions).desired.may_sleep
