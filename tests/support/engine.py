"""A real Docker engine for the tests: found, or started when none answers. What a test makes on it goes with it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from orchestrator.engine.base import LABEL_INSTALLATION
from orchestrator.engine.docker import DockerEngine

PROJECT = Path(__file__).parents[2]
TEST_PREFIX = "skylark-test-"  # of installations: clean-up scripts know it


def new_installation() -> str:
    """A name that no other test has; what carries it may be removed."""
    return f"{TEST_PREFIX}{secrets.token_hex(4)}"


def remove_installation(docker_url: str, installation: str) -> None:
    """Remove all containers, networks and volumes with that label, as long as it is a test's."""
    assert installation.startswith(TEST_PREFIX), f"{installation} is no test installation"
    client = docker.APIClient(docker_url, version="auto", timeout=120)
    ours = {"label": [f"{LABEL_INSTALLATION}={installation}"]}
    try:
        for container in client.containers(all=True, filters=ours):
            _gone(client.remove_container, container["Id"], force=True)
        for network in client.networks(filters=ours):
            _gone(client.remove_network, network["Id"])
        for volume in client.volumes(filters=ours).get("Volumes") or ():
            _gone(client.remove_volume, volume["Name"])
    finally:
        client.close()


def _gone(remove: object, name: str, **options: object) -> None:
    try:
        remove(name, **options)  # type: ignore[operator]
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if "already in progress" not in str(error):
            raise


@pytest.fixture(scope="session")
def docker_url() -> str:
    """Address of an engine that answers; one is started when none does. SKYLARK_TEST_ENGINE names another."""
    url = os.environ.get("SKYLARK_TEST_ENGINE", "")
    if url:
        return url
    script = PROJECT / "deploy" / "ensure-engine.sh"
    done = subprocess.run([str(script)], capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        pytest.fail(f"these tests need a Docker engine, and none could be started:\n{done.stderr}", pytrace=False)
    return "unix:///var/run/docker.sock"


@pytest.fixture
def installation(docker_url: str) -> Iterator[str]:
    """An installation of this test's own, cleared of containers, networks and volumes afterwards."""
    name = new_installation()
    yield name
    remove_installation(docker_url, name)


@pytest.fixture
def docker_engine(docker_url: str, installation: str) -> Iterator[DockerEngine]:
    """The engine as `installation` sees it."""
    engine = DockerEngine(docker_url, installation)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def docker_client(docker_url: str) -> Iterator[docker.APIClient]:
    """The SDK's own client, to look at what Skylark did from beside it."""
    client = docker.APIClient(docker_url, version="auto", timeout=120)
    yield client
    client.close()
