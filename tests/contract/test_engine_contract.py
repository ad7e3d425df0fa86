"""What Skylark relies on of an engine, the same for Docker and for the fake: containers and their ends."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from orchestrator.engine.base import LABEL_INSTALLATION, LABEL_SLOT, ContainerFact, PortBinding
from orchestrator.engine.errors import EngineError, Fault
from tests.contract.conftest import Launch, config
from tests.contract.worlds import World
from tests.support.poll import eventually


def fact(world: World, container_id: str) -> ContainerFact:
    """The container as the list shows it."""
    return next(found for found in world.engine.list_containers() if found.id == container_id)


def test_created_container_is_listed_as_created(world: World) -> None:
    wanted = config(world, "a")
    container_id = world.engine.create_container(wanted)
    found = fact(world, container_id)
    assert (found.name, found.state, found.exit_code, found.health) == (wanted.name, "created", None, "none")
    assert found.labels[LABEL_SLOT] == "0"


def test_started_container_is_listed_as_running_with_an_address(world: World, launch: Launch) -> None:
    found = fact(world, launch("a"))
    assert found.state == "running"
    assert found.address


def test_start_of_running_container_changes_nothing(world: World, launch: Launch) -> None:
    container_id = launch("a")
    before = world.engine.inspect_container(container_id).started_at
    world.engine.start_container(container_id)
    assert world.engine.inspect_container(container_id).started_at == before


def test_stop_ends_by_sigterm_at_once(world: World, launch: Launch) -> None:
    container_id = launch("a")
    began = time.monotonic()
    world.engine.stop_container(container_id, 10)
    assert time.monotonic() - began < 5
    assert fact(world, container_id).state == "exited"
    assert fact(world, container_id).exit_code == 143


def test_stop_of_process_that_ignores_sigterm_kills_it_after_the_grace(world: World, launch: Launch) -> None:
    container_id = launch("a", "stubborn")
    world.engine.stop_container(container_id, 1)
    assert fact(world, container_id).exit_code == 137


def test_stop_twice_and_of_missing_container_is_no_error(world: World, launch: Launch) -> None:
    container_id = launch("a")
    world.engine.stop_container(container_id, 5)
    world.engine.stop_container(container_id, 5)
    world.engine.remove_container(container_id)
    world.engine.stop_container(container_id, 5)


def test_removed_container_is_gone_and_can_be_removed_again(world: World, launch: Launch) -> None:
    container_id = launch("a")
    world.engine.remove_container(container_id)
    world.engine.remove_container(container_id)
    assert world.engine.list_containers() == ()


def test_crashed_container_shows_its_exit_code(world: World, launch: Launch) -> None:
    container_id = launch("a", "crasher")
    found = eventually(lambda: fact(world, container_id).state == "exited" and fact(world, container_id))
    assert found.exit_code == 3
    detail = world.engine.inspect_container(container_id)
    assert (detail.state, detail.exit_code, detail.oom_killed) == ("exited", 3, False)
    assert detail.started_at is not None
    assert detail.finished_at is not None
    assert detail.finished_at >= detail.started_at


def test_killed_container_shows_137(world: World, launch: Launch) -> None:
    container_id = launch("a")
    world.kill(container_id)
    assert eventually(lambda: fact(world, container_id).exit_code) == 137


def test_exited_container_can_be_started_again(world: World, launch: Launch) -> None:
    container_id = launch("a")
    world.engine.stop_container(container_id, 5)
    world.engine.start_container(container_id)
    assert (fact(world, container_id).state, fact(world, container_id).exit_code) == ("running", None)
    assert world.engine.inspect_container(container_id).finished_at is None


def test_running_container_has_no_exit_code_in_detail(world: World, launch: Launch) -> None:
    container_id = launch("a")
    detail = world.engine.inspect_container(container_id)
    assert (detail.state, detail.exit_code, detail.finished_at) == ("running", None, None)
    assert detail.image_id == config(world, "b").image_id


def test_command_that_is_not_in_the_image_exits_127_and_says_so_in_the_log(world: World, launch: Launch) -> None:
    container_id = launch("a", command=("no-such-command",), entrypoint=())
    assert eventually(lambda: fact(world, container_id).exit_code) == 127
    assert any(b"no-such-command" in line.message for line in world.engine.logs(container_id))


def test_second_create_with_the_same_name_is_a_conflict(world: World) -> None:
    wanted = config(world, "a")
    world.engine.create_container(wanted)
    with pytest.raises(EngineError) as caught:
        world.engine.create_container(wanted)
    assert caught.value.fault is Fault.CONFLICT


def test_create_from_image_that_is_not_there_says_image_missing(world: World) -> None:
    wanted = replace(config(world, "a"), image_id="sha256:" + "1" * 64)
    with pytest.raises(EngineError) as caught:
        world.engine.create_container(wanted)
    assert caught.value.fault is Fault.IMAGE_MISSING
    assert caught.value.transient


def test_missing_container_is_not_found(world: World) -> None:
    for call in (
        world.engine.start_container,
        world.engine.inspect_container,
        lambda container_id: list(world.engine.logs(container_id)),
    ):
        with pytest.raises(EngineError) as caught:
            call("1" * 64)
        assert caught.value.fault is Fault.NOT_FOUND


def test_containers_of_another_installation_are_not_seen(world: World, launch: Launch) -> None:
    launch("mine")
    wanted = config(world, "others")
    foreign = {**wanted.labels, LABEL_INSTALLATION: world.other.installation}  # type: ignore[attr-defined]
    other_id = world.other.create_container(replace(wanted, labels=foreign))
    assert [found.id for found in world.other.list_containers()] == [other_id]
    assert other_id not in [found.id for found in world.engine.list_containers()]
    world.other.remove_container(other_id)


@pytest.mark.parametrize(("tag", "health"), [("healthy", "healthy"), ("sick", "unhealthy"), ("v1", "none")])
def test_health_of_the_image_is_seen_in_the_list(world: World, launch: Launch, tag: str, health: str) -> None:
    container_id = launch("a", f"web:{tag}")
    eventually(lambda: fact(world, container_id).health == health)


def test_port_published_by_choice_of_the_engine_is_listed(world: World, launch: Launch) -> None:
    container_id = launch("a", ports=(PortBinding(80, "tcp", 0), PortBinding(8080), PortBinding(53, "udp", 0)))
    ports = {(number, protocol): host for number, protocol, host in fact(world, container_id).ports}
    assert set(ports) == {(80, "tcp"), (53, "udp")}
    assert all(host > 1023 for host in ports.values())


def test_port_in_use_is_said_at_start(world: World, launch: Launch) -> None:
    first = launch("a", ports=(PortBinding(80, "tcp", 0),))
    taken = fact(world, first).ports[0][2]
    second = world.engine.create_container(config(world, "b", ports=(PortBinding(80, "tcp", taken),)))
    with pytest.raises(EngineError) as caught:
        world.engine.start_container(second)
    assert caught.value.fault is Fault.PORT_IN_USE
    assert caught.value.transient
