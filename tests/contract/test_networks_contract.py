"""What Skylark relies on of an engine's networks, the same for Docker and for the fake."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import docker
import pytest

from orchestrator.engine.base import LABEL_INSTALLATION, LABEL_NAMESPACE, NetworkConfig
from orchestrator.engine.errors import EngineError, Fault
from tests.contract.conftest import Launch, unique
from tests.contract.worlds import DockerWorld, World


@pytest.fixture
def subnet() -> str:
    """One that no other test has: outside of the pools that Skylark's own defaults name."""
    return f"10.{240 + secrets.randbelow(10)}.{secrets.randbelow(256)}.0/24"


def network(world: World, subnet: str, name: str = "n") -> NetworkConfig:
    """A network of the world's first installation."""
    labels = {LABEL_INSTALLATION: world.engine.installation, LABEL_NAMESPACE: name}  # type: ignore[attr-defined]
    return NetworkConfig(unique(world, name), labels, subnet)


def test_network_made_twice_carries_containers_at_the_addresses_they_ask_for(
    world: World, launch: Launch, subnet: str
) -> None:
    wanted = network(world, subnet)
    world.engine.ensure_network(wanted)
    world.engine.ensure_network(wanted)

    address = subnet.replace(".0/24", ".77")
    container = launch("a", network=wanted.name, address=address, extra_hosts={"db": "10.224.0.9"})

    (fact,) = world.engine.list_containers()
    assert (fact.id, fact.address) == (container, address)


def test_network_asked_for_by_many_at_once_is_made_once(world: World, subnet: str) -> None:
    wanted = network(world, subnet)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(world.engine.ensure_network, [wanted] * 4)) == [None] * 4


def test_subnet_that_another_network_has_is_refused_as_taken(world: World, subnet: str) -> None:
    world.engine.ensure_network(network(world, subnet))
    with pytest.raises(EngineError) as caught:
        world.engine.ensure_network(network(world, subnet, "m"))
    assert caught.value.fault is Fault.SUBNET_TAKEN


def test_network_of_another_installation_is_neither_used_nor_removed(world: World, subnet: str) -> None:
    wanted = network(world, subnet)
    world.engine.ensure_network(wanted)
    with pytest.raises(EngineError) as caught:
        world.other.ensure_network(wanted)
    assert caught.value.fault is Fault.INVALID
    world.other.remove_network(wanted.name)
    world.engine.ensure_network(wanted)  # it is still there: else the next line would find nothing to refuse
    with pytest.raises(EngineError):
        world.other.ensure_network(wanted)


def test_network_is_removed_when_it_is_empty_and_a_second_time_too(world: World, launch: Launch, subnet: str) -> None:
    wanted = network(world, subnet)
    world.engine.ensure_network(wanted)
    container = launch("a", network=wanted.name)
    with pytest.raises(EngineError) as caught:
        world.engine.remove_network(wanted.name)
    assert caught.value.fault is Fault.CONFLICT

    world.engine.remove_container(container)
    world.engine.remove_network(wanted.name)
    world.engine.remove_network(wanted.name)


@pytest.mark.docker
def test_containers_of_a_network_do_not_reach_one_another(
    docker_world: DockerWorld, docker_client: docker.APIClient, subnet: str
) -> None:
    wanted = network(docker_world, subnet)
    docker_world.engine.ensure_network(wanted)

    (made,) = docker_client.networks(names=[wanted.name])
    assert made["Options"] == {"com.docker.network.bridge.enable_icc": "false"}
    assert made["Labels"][LABEL_NAMESPACE] == "n"
