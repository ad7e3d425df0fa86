"""What Skylark relies on of an engine's volumes, the same for Docker and for the fake."""

from __future__ import annotations

import pytest

from orchestrator.engine.base import LABEL_INSTALLATION, LABEL_SLOT, LABEL_VOLUME_PATH, Mount, VolumeConfig
from orchestrator.engine.errors import EngineError, Fault
from tests.contract.conftest import MEBIBYTE, Launch, unique
from tests.contract.worlds import World


def volume(world: World, name: str = "v", mode: str = "plain") -> VolumeConfig:
    """A volume of the world's first installation."""
    labels = {
        LABEL_INSTALLATION: world.engine.installation,  # type: ignore[attr-defined]
        LABEL_SLOT: "0",
        LABEL_VOLUME_PATH: "/data1",
    }
    return VolumeConfig(unique(world, name), labels, 32 * MEBIBYTE, mode)


def test_volume_made_twice_is_there_once_with_its_labels(world: World) -> None:
    wanted = volume(world)
    first = world.engine.ensure_volume(wanted)
    assert world.engine.ensure_volume(wanted) == first
    assert [found.name for found in world.engine.list_volumes()] == [wanted.name]
    assert world.engine.list_volumes()[0].labels[LABEL_VOLUME_PATH] == "/data1"
    assert not first.enforced


def test_data_survives_the_removal_of_the_container(world: World, launch: Launch) -> None:
    name = world.engine.ensure_volume(volume(world)).name
    first = launch("a", mounts=(Mount(name, "/data1"),))
    world.write(first, name, "/data1/note", "kept")
    world.engine.remove_container(first)
    second = launch("b", mounts=(Mount(name, "/data1"),))
    assert world.read(second, name, "/data1/note") == "kept"


def test_removed_volume_is_gone_and_can_be_removed_again(world: World) -> None:
    name = world.engine.ensure_volume(volume(world)).name
    world.engine.remove_volume(name)
    world.engine.remove_volume(name)
    assert world.engine.list_volumes() == ()


def test_volume_in_use_is_not_removed(world: World, launch: Launch) -> None:
    name = world.engine.ensure_volume(volume(world)).name
    launch("a", mounts=(Mount(name, "/data1"),))
    with pytest.raises(EngineError) as caught:
        world.engine.remove_volume(name)
    assert caught.value.fault is Fault.CONFLICT
    assert world.engine.list_volumes()[0].name == name


def test_volumes_of_another_installation_are_neither_seen_nor_taken(world: World) -> None:
    wanted = volume(world)
    world.engine.ensure_volume(wanted)
    assert world.other.list_volumes() == ()
    with pytest.raises(EngineError) as caught:
        world.other.ensure_volume(wanted)
    assert caught.value.fault is Fault.CONFLICT


def test_usage_counts_what_is_stored(world: World, launch: Launch) -> None:
    name = world.engine.ensure_volume(volume(world)).name
    container_id = launch("a", mounts=(Mount(name, "/data1"),))
    before = world.engine.volume_usage()[name]
    world.write(container_id, name, "/data1/note", "x" * 10_000)
    assert world.engine.volume_usage()[name] >= before + 10_000
