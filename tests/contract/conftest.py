"""Fixtures of the engine contract: a world to try it in, and containers made with few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import docker
import pytest

from orchestrator.engine.base import LABEL_INSTALLATION, LABEL_SLOT, ContainerConfig
from tests.contract.worlds import DockerWorld, FakeTwin, World
from tests.support.engine import new_installation, remove_installation
from tests.support.registry import Images

MEBIBYTE = 1024 * 1024
Launch = Callable[..., str]


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Each contract test runs in both."""
    if request.param == "fake":
        twin = FakeTwin()
        yield twin
        twin.close()
    else:
        yield request.getfixturevalue("docker_world")


@pytest.fixture
def docker_world(
    docker_url: str, docker_client: docker.APIClient, images: Images, auth_images: Images
) -> Iterator[DockerWorld]:
    mine, others = new_installation(), new_installation()
    world = DockerWorld(docker_url, mine, others, docker_client, images, auth_images)
    yield world
    world.close()
    remove_installation(docker_url, mine)
    remove_installation(docker_url, others)


def config(world: World, name: str, image: str = "web:v1", **more: object) -> ContainerConfig:
    """A small container of a test image, labelled for the world's first installation."""
    image_name, _, tag = image.partition(":")
    installation = world.engine.installation  # type: ignore[attr-defined]
    given: dict[str, object] = {
        "image_id": world.engine.pull(world.ref(image_name, tag or "latest")).image_id,
        "labels": {LABEL_INSTALLATION: installation, LABEL_SLOT: "0"},
        "memory_bytes": 64 * MEBIBYTE,
        "pids_limit": 64,
    }
    return ContainerConfig(name=unique(world, name), **(given | more))  # type: ignore[arg-type]


def unique(world: World, name: str) -> str:
    """A name that no other test uses on the engine."""
    return f"{world.engine.installation}-{name}"  # type: ignore[attr-defined]


@pytest.fixture
def launch(world: World) -> Launch:
    """Create and start a container; the arguments are those of `config`."""

    def start(name: str, image: str = "web:v1", **more: object) -> str:
        container_id = world.engine.create_container(config(world, name, image, **more))
        world.engine.start_container(container_id)
        return container_id

    return start
