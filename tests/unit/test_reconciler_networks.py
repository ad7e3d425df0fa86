"""Where instances are put: on their namespace's network, at addresses known in advance, with the names of links."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from orchestrator.engine.base import ContainerConfig, NetworkConfig
from orchestrator.store.addresses import empty_namespaces, forget_networks, forget_unused_links, link_addresses
from orchestrator.store.route_reads import routed_services
from tests.support.rig import Rig

DATABASE = [{"container_port": 5432, "endpoint_type": "internal-endpoint"}]


@pytest.fixture
def make_rig(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(**settings: str) -> Rig:
        made.append(Rig(database_url, tmp_path, **settings))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def configs(rig: Rig, name: str) -> list[ContainerConfig]:
    containers = rig.engine.world.containers.values()
    return [c.config for c in containers if c.config.labels["skylark.service_name"] == f"ns/{name}"]


def test_instances_share_the_network_of_their_namespace_at_addresses_of_their_own(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    rig.create("web", target_num_instances=3)
    rig.create("db")
    rig.converge()

    (network,) = rig.engine.world.networks.values()
    made = [*configs(rig, "web"), *configs(rig, "db")]
    addresses = {config.address for config in made}
    assert network.name == "test-ns"
    assert {config.network for config in made} == {"test-ns"}
    assert len(addresses) == 4
    assert all(IPv4Address(address) in IPv4Network(network.subnet) for address in addresses)
    assert {instance.address for instance in rig.instances("web")} < addresses


def test_linking_service_knows_its_target_by_name_also_when_that_comes_later(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.create("web", linked_to_apps={"db": "store"})
    rig.converge()
    rig.create("db", instance_ports=DATABASE)
    rig.converge()

    (web,) = configs(rig, "web")
    with rig.sessions() as session:
        (address,) = link_addresses(session).values()
        routed = {service.name: service for service in routed_services(session, "skylark.local")}
    assert web.extra_hosts == dict.fromkeys(
        ("store", "db", "db-ns.internal.skylark.local", "db-ns.skylark.local"), address
    )
    assert (routed["db"].link_address, routed["db"].link_sources) == (address, (web.address,))
    assert 5432 in dict(routed["db"].link_ports)
    assert routed["web"].link_address == ""


def test_instance_is_let_in_by_its_own_revisions_links(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.create("db", instance_ports=DATABASE)
    rig.create("web", linked_to_apps={"db": "db"})
    rig.converge()
    rig.change("web", linked_to_apps={})
    rig.converge()

    with rig.sessions() as session:
        routed = {service.name: service for service in routed_services(session, "skylark.local")}
    assert routed["db"].link_sources == ()


def test_without_a_proxy_networks_part_services_and_links_have_no_address(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(proxy="none")
    rig.create("db", instance_ports=DATABASE)
    rig.create("web", linked_to_apps={"db": "db"})
    rig.converge()

    (web,) = configs(rig, "web")
    assert (web.network, web.extra_hosts) == ("test-ns", {})
    with rig.sessions() as session:
        assert link_addresses(session) == {}


def test_subnet_that_somebody_else_has_is_given_up_without_a_back_off(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(network_pool="10.208.0.0/21")
    rig.engine.world.networks["theirs"] = NetworkConfig("theirs", {}, "10.208.0.0/22")
    rig.create("web")
    rig.create("db")
    rig.converge()

    assert rig.engine.world.networks["test-ns"].subnet == "10.208.4.0/22"
    assert rig.status("web")[0] == rig.status("db")[0] == "Running"
    assert not rig.events("launch_failed")


def test_full_pool_is_said_in_the_status_of_those_it_concerns(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(network_pool="10.208.0.0/30")
    rig.create("web", target_num_instances=2)
    for _ in range(4):
        rig.run_pass()

    assert len(rig.ids("web")) == 1
    assert "the namespace's network 10.208.0.0/30 is full" in rig.status()[1]


def test_network_and_virtual_addresses_go_when_nobody_needs_them(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.create("web", linked_to_apps={"db": "db"})
    rig.converge()
    assert needed(rig.sessions) == ((), 1)

    rig.delete("web")
    rig.converge()
    assert needed(rig.sessions) == (("ns",), 1)
    with rig.sessions() as session:
        forget_networks(session, ["ns"])
        forget_unused_links(session)
        session.commit()
    assert needed(rig.sessions) == ((), 0)


def needed(sessions: sessionmaker[Session]) -> tuple[tuple[str, ...], int]:
    with sessions() as session:
        return empty_namespaces(session), len(link_addresses(session))
