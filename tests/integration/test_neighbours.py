"""Skylark touches only its own: other installations and other people's containers live beside it undisturbed."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from orchestrator.engine.base import LABEL_INSTALLATION, LABEL_INSTANCE, LABEL_SERVICE, LABEL_SLOT
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def other(make_skylark: MakeSkylark) -> Skylark:
    """A second installation on the same engine."""
    return make_skylark().start()


@pytest.fixture
def foreigner(skylark: Skylark, docker_client: docker.APIClient, images: Images) -> Iterator[str]:
    """Somebody's container with a name and labels like ours, and a volume named as ours are."""
    labels = {
        LABEL_INSTALLATION: f"{skylark.installation}-not",
        LABEL_SERVICE: "11111111-2222-3333-4444-555555555555",
        LABEL_INSTANCE: "66666666-2222-3333-4444-555555555555",
        LABEL_SLOT: "0",
    }
    docker_client.create_volume(f"{skylark.installation}-of-somebody")
    made = docker_client.create_container(
        "skylark-test/busybox:latest",
        ["sleep", "1000"],
        name=f"skylark-{skylark.installation}",
        labels=labels,
        host_config=docker_client.create_host_config(binds={f"{skylark.installation}-of-somebody": {"bind": "/data"}}),
    )
    docker_client.start(made["Id"])
    yield str(made["Id"])
    docker_client.remove_container(made["Id"], force=True)
    docker_client.remove_volume(f"{skylark.installation}-of-somebody")


def test_two_installations_on_one_engine_do_not_see_each_other(
    skylark: Skylark, other: Skylark, images: Images
) -> None:
    volumes = [{"app_volume_dir": "/data", "volume_type": "EBS", "size_gb": 1}]
    for one in (skylark, other):
        one.api.create("web", f"{images['web']}:v1", target_num_instances=2, volumes=volumes)
    for one in (skylark, other):
        one.api.running("web", 2)
    mine, theirs = skylark.ids(), other.ids()
    assert len(mine) == len(theirs) == 2
    assert not set(mine) & set(theirs)
    assert not set(skylark.volumes()) & set(other.volumes())
    skylark.api.delete("web", volumes=True)
    eventually(lambda: not skylark.containers() and not skylark.volumes(), 30)
    assert other.ids() == theirs
    assert len(other.volumes()) == 2
    assert other.api.running("web", 2)
    other.api.delete("web", volumes=True)
    eventually(lambda: not other.containers(), 30)


def test_foreign_container_is_never_touched(
    skylark: Skylark, foreigner: str, docker_client: docker.APIClient, images: Images
) -> None:
    before = docker_client.inspect_container(foreigner)
    skylark.api.create("web", f"{images['web']}:v1")
    skylark.api.running("web")
    skylark.docker.kill(skylark.ids("web")[0])
    skylark.api.event("web", "instance_removed")
    skylark.api.running("web")
    skylark.api.delete("web", volumes=True)
    eventually(lambda: not skylark.containers(), 30)
    after = docker_client.inspect_container(foreigner)
    assert after["State"] == before["State"]
    assert after["Config"]["Labels"] == before["Config"]["Labels"]
    assert docker_client.inspect_volume(f"{skylark.installation}-of-somebody")


def test_container_with_our_label_but_no_service_is_removed(
    skylark: Skylark, docker_client: docker.APIClient, images: Images
) -> None:
    labels = {
        LABEL_INSTALLATION: skylark.installation,
        LABEL_SERVICE: "11111111-2222-3333-4444-555555555555",
        LABEL_INSTANCE: "77777777-2222-3333-4444-555555555555",
        LABEL_SLOT: "0",
    }
    assert images["busybox"]
    made = docker_client.create_container("skylark-test/busybox:latest", ["sleep", "1000"], labels=labels)
    docker_client.start(made["Id"])
    eventually(lambda: made["Id"] not in skylark.ids(), 20)
    assert "stray" in skylark.log()
