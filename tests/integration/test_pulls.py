"""Images come from real registries: shared, moved, pinned, behind a password, missing, out of reach, and lost."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from tests.images.build import push
from tests.support.gate import Gate, gate_before
from tests.support.poll import eventually
from tests.support.registry import Images, Registry, forget_images, free_port
from tests.support.skylark import MakeSkylark, Skylark, credentials

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark, auth_registry: Registry) -> Skylark:
    """One that knows the password of one registry, by its address 127.0.0.1 only."""
    return make_skylark(config=credentials(auth_registry)).start()


@pytest.fixture(scope="module")
def web(images: Images) -> str:
    """The web image's name in the registry, without host."""
    return images["web"].partition("/")[2]


@pytest.fixture
def gate(registry: Registry, docker_client: docker.APIClient) -> Iterator[Gate]:
    """Another address of the registry that counts and can hold back what comes."""
    with gate_before(registry.host) as gate:
        yield gate
        forget_images(docker_client, gate.host)


def image_ids(skylark: Skylark, name: str) -> set[str]:
    """The images that a service's containers really run."""
    return {container["ImageID"] for container in skylark.containers(name)}


def test_services_of_one_image_share_one_pull(skylark: Skylark, gate: Gate, web: str) -> None:
    gate.shut()
    names = [f"shared-{number}" for number in range(4)]
    for name in names:
        skylark.api.create(name, f"{gate.host}/{web}:v1")
    eventually(lambda: gate.seen, 10)
    for name in names:
        skylark.api.status(name, "Deploying")
    gate.open()
    used = set()
    for name in names:
        skylark.api.running(name)
        used |= image_ids(skylark, name)
        assert skylark.api.event(name, "image_resolved")["data"]["image"] == f"{gate.host}/{web}:v1"
        skylark.api.delete(name)
    assert len(used) == 1
    assert len([request for request in gate.seen if request.endswith("/manifests/v1")]) <= 2  # one HEAD, one GET


def test_moved_tag_replaces_instances_only_when_it_is_deployed(skylark: Skylark, registry: Registry, web: str) -> None:
    registry.move_tag(web, "moving", "v1")
    skylark.api.create("mover", f"{registry.host}/{web}:moving", target_num_instances=2)
    skylark.api.running("mover", 2)
    before, old = skylark.ids("mover"), image_ids(skylark, "mover")
    registry.move_tag(web, "moving", "v2")
    skylark.docker.kill(before[0])
    skylark.api.event("mover", "instance_removed")
    skylark.api.running("mover", 2)
    assert image_ids(skylark, "mover") == old, "a replacement runs what its revision resolved, not what the tag says"
    skylark.api.update("mover", image_tag="moving")
    moved = skylark.api.running("mover", 2)
    assert moved["revision"] == 2
    assert not image_ids(skylark, "mover") & old
    first, second = [e for e in skylark.api.events("mover") if e["kind"] == "image_resolved"]
    assert "moved to" in second["reason"]
    assert first["data"]["digest"] != second["data"]["digest"]
    skylark.api.delete("mover")


def test_deploy_is_not_done_before_the_tag_was_looked_at(skylark: Skylark, gate: Gate, web: str) -> None:
    skylark.api.create("looker", f"{gate.host}/{web}:v1")
    skylark.api.running("looker")
    gate.shut()
    skylark.api.update("looker", image_tag="v1")
    eventually(lambda: skylark.api.service("looker")["observed_generation"] == 2, 10)
    service = skylark.api.service("looker")
    assert (service["current_status"], service["is_deploying"]) == ("Running", True)
    assert service["status_reason"] == f"looking whether {gate.host}/{web}:v1 moved"
    gate.open()
    skylark.api.running("looker")
    skylark.api.delete("looker")


def test_naming_an_unmoved_tag_again_changes_nothing(skylark: Skylark, registry: Registry, web: str) -> None:
    skylark.api.create("same", f"{registry.host}/{web}:v1")
    skylark.api.running("same")
    before = skylark.ids("same")
    skylark.api.update("same", image_tag="v1")
    assert skylark.api.running("same")["revision"] == 1
    assert skylark.ids("same") == before
    skylark.api.delete("same")


def test_digest_runs_exactly_that_image(skylark: Skylark, registry: Registry, web: str) -> None:
    reference = f"{registry.host}/{web}@{registry.digest(web, 'v2')}"
    skylark.api.create("pinned", reference)
    skylark.api.running("pinned")
    assert image_ids(skylark, "pinned") == {skylark.docker.inspect_image(reference)["Id"]}
    assert skylark.api.service("pinned")["image_name"] == reference
    skylark.api.delete("pinned")


def test_registry_with_a_password_serves_those_who_know_it(skylark: Skylark, auth_images: Images) -> None:
    skylark.api.create("secret", f"{auth_images['web']}:v1")
    skylark.api.running("secret")
    assert "open sesame" not in skylark.log("worker")
    skylark.api.delete("secret")


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ("tag", "image_not_found"),
        ("repository", "image_not_found"),
        ("denied", "registry_denied"),
        ("host", "registry_unknown_host"),
        ("refused", "registry_unreachable"),
    ],
)
def test_failing_pull_is_told_apart_in_status_and_event(
    skylark: Skylark, registry: Registry, auth_registry: Registry, web: str, what: str, fault: str
) -> None:
    image = {
        "tag": f"{registry.host}/{web}:nowhere",
        "repository": f"{registry.host}/no/such-thing:v1",
        "denied": f"{auth_registry.host.replace('127.0.0.1', 'localhost')}/{web}:v1",
        "host": f"registry.invalid/{web}:v1",
        "refused": f"127.0.0.1:{free_port()}/{web}:v1",
    }[what]
    skylark.api.create(f"bad-{what}", image)
    service = skylark.api.status(f"bad-{what}", "StartError")
    event = skylark.api.event(f"bad-{what}", "pull_failed")
    assert fault in service["status_reason"]
    assert event["data"]["fault"] == fault
    assert event["data"]["image"] == image
    assert event["reason"] in service["status_reason"]
    assert not service["is_deploying"]
    assert skylark.containers(f"bad-{what}") == []
    skylark.api.delete(f"bad-{what}")


def test_failed_update_keeps_the_old_instances_running_and_says_why(
    skylark: Skylark, registry: Registry, web: str
) -> None:
    skylark.api.create("careful", f"{registry.host}/{web}:v1", target_num_instances=2)
    skylark.api.running("careful", 2)
    before = skylark.ids("careful")
    skylark.api.update("careful", image_tag="nowhere")
    skylark.api.event("careful", "pull_failed")
    service = skylark.api.status("careful", "Running")
    assert "image_not_found" in service["status_reason"]
    assert skylark.ids("careful") == before
    skylark.api.update("careful", image_tag="v2")
    skylark.api.running("careful", 2)
    assert not set(skylark.ids("careful")) & set(before)
    skylark.api.delete("careful")


def test_registry_that_comes_back_heals_the_service(skylark: Skylark, registry: Registry, web: str) -> None:
    registry.stop()
    try:
        skylark.api.create("patient", f"{registry.host}/{web}:v1")
        assert "registry_unreachable" in skylark.api.status("patient", "StartError")["status_reason"]
    finally:
        registry.start()
    skylark.api.running("patient")
    skylark.api.delete("patient")


def test_image_lost_by_the_engine_is_fetched_again_by_its_digest(
    skylark: Skylark, registry: Registry, docker_client: docker.APIClient
) -> None:
    for version in ("1", "2"):
        local = f"skylark-test/lost:{version}"
        made = docker_client.create_container("skylark-test/busybox:latest", ["sleep", "1000"])
        docker_client.commit(made["Id"], *local.split(":"), conf={"Labels": {"skylark.test": version}})
        docker_client.remove_container(made["Id"])
        push(docker_client, local, f"{registry.host}/{local}")
        docker_client.remove_image(local)
    registry.move_tag("skylark-test/lost", "here", "1")
    skylark.api.create("loser", f"{registry.host}/skylark-test/lost:here", run_command="sleep 1000")
    skylark.api.running("loser")
    (before,) = image_ids(skylark, "loser")
    registry.move_tag("skylark-test/lost", "here", "2")
    skylark.worker.end()
    for container in skylark.ids("loser"):
        docker_client.remove_container(container, force=True)
    docker_client.remove_image(before, force=True)
    skylark.start_worker()
    assert before[:19] in skylark.api.event("loser", "image_lost")["reason"]
    skylark.api.event("loser", "image_fetched")
    skylark.api.running("loser")
    assert image_ids(skylark, "loser") == {before}
    skylark.api.delete("loser")
