"""Whatever happens to an instance, its service heals; what cannot be healed is said, and harms nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import docker
import pytest

from tests.support.gate import Gate, gate_before
from tests.support.poll import eventually
from tests.support.registry import Images, Registry, forget_images
from tests.support.skylark import Skylark

pytestmark = pytest.mark.docker


@pytest.fixture
def hanging(registry: Registry, docker_client: docker.APIClient) -> Iterator[Gate]:
    """A registry that takes requests and does not answer."""
    with gate_before(registry.host) as gate:
        gate.shut()
        yield gate
        forget_images(docker_client, gate.host)


def test_killed_removed_and_paused_instances_are_replaced(skylark: Skylark, images: Images) -> None:
    skylark.api.create("web", f"{images['web']}:v1", target_num_instances=4)
    skylark.api.running("web", 4)
    killed, removed, paused, untouched = before = skylark.ids("web")
    skylark.docker.kill(killed)
    skylark.docker.remove_container(removed, force=True)
    skylark.docker.pause(paused)
    eventually(lambda: len(set(skylark.ids("web")) - set(before)) == 3, 20)
    skylark.api.running("web", 4)
    after = skylark.ids("web")
    assert len(after) == 4
    assert set(after) & set(before) == {untouched}
    died = {e["data"]["slot"]: e["reason"] for e in skylark.api.events("web") if e["kind"] == "instance_died"}
    assert died[0] == "exit code 137"
    assert died[1] == "its container was removed by somebody else"
    assert "paused by somebody" in skylark.api.event("web", "instance_removed", slot=2)["reason"]
    assert 3 not in died
    skylark.api.delete("web")


def test_crashing_instance_backs_off_and_says_why(skylark: Skylark, images: Images) -> None:
    skylark.api.create("crasher", f"{images['crasher']}:latest")
    skylark.api.event("crasher", "instance_died", failures=1)
    second = skylark.api.event("crasher", "instance_died", failures=2)
    service = skylark.api.status("crasher", "StartError")
    assert "exit code 3" in service["status_reason"]
    assert "2 times in a row" in service["status_reason"]
    assert second["data"]["exit_code"] == 3
    plan = eventually(lambda: _waiting_plan(skylark, "crasher"), 10)
    assert "exit code 3" in plan["waiting"][0]
    waits = datetime.fromisoformat(plan["wake_at"]) - datetime.fromisoformat(second["at"])
    assert 9.9 <= waits.total_seconds() <= 10.5
    assert skylark.api.messages("crasher") == ["crashing", "crashing"]
    skylark.api.delete("crasher")


def _waiting_plan(skylark: Skylark, name: str) -> dict[str, object]:
    plan: dict[str, object] = skylark.api.ask("POST", f"/{name}/plan")
    return plan if plan["wake_at"] and not plan["actions"] else {}


def test_update_of_a_crashing_service_is_tried_at_once(skylark: Skylark, images: Images) -> None:
    skylark.api.create("fixed", f"{images['busybox']}:latest", run_command="sh -c 'exit 7'")
    skylark.api.event("fixed", "instance_died", failures=2)
    skylark.api.update("fixed", run_command="sleep 1000")
    skylark.api.running("fixed", seconds=8)
    skylark.api.delete("fixed")


def test_unknown_command_is_said_to_the_user(skylark: Skylark, images: Images) -> None:
    skylark.api.create("typo", f"{images['busybox']}:latest", run_command="slep 1000")
    died = skylark.api.event("typo", "instance_died")
    assert died["reason"] == "exit code 127: command not found"
    assert "command not found" in skylark.api.status("typo", "StartError")["status_reason"]
    assert "slep" in skylark.api.messages("typo")[0]
    skylark.api.delete("typo")


def test_instance_out_of_memory_is_told_as_such(skylark: Skylark, images: Images) -> None:
    skylark.api.create("glutton", f"{images['busybox']}:latest", run_command="tail /dev/zero")
    skylark.api.event("glutton", "instance_oom_killed")
    service = skylark.api.status("glutton", "StartError")
    eventually(lambda: "out of memory" in skylark.api.service("glutton")["status_reason"], 10)
    assert service["current_num_instances"] == 0
    skylark.api.delete("glutton")


def test_sick_instance_is_replaced_and_backs_off(skylark: Skylark, images: Images) -> None:
    skylark.api.create("sick", f"{images['web']}:sick")
    died = skylark.api.event("sick", "instance_died", failures=2)
    assert died["reason"] == "its health check fails"
    assert "health check" in skylark.api.status("sick", "StartError")["status_reason"]
    skylark.api.delete("sick")


def test_healthy_instance_counts_only_once_it_is_healthy(skylark: Skylark, images: Images) -> None:
    skylark.api.create("healthy", f"{images['web']}:healthy")
    starting = skylark.api.status("healthy", "Deploying")
    assert starting["started_num_instances"] == 0
    running = skylark.api.running("healthy")
    assert running["instances"][0]["health"] == "healthy"
    skylark.api.delete("healthy")


def test_stubborn_instance_ends_by_its_grace_and_delays_nobody(skylark: Skylark, images: Images) -> None:
    skylark.api.create(
        "stubborn",
        f"{images['stubborn']}:latest",
        target_num_instances=3,
        deployment_preference={"stop_grace_seconds": 5},
    )
    skylark.api.running("stubborn", 3)
    skylark.api.stop("stubborn")
    skylark.api.create("brisk", f"{images['web']}:v1", target_num_instances=2)
    skylark.api.running("brisk", 2)
    assert skylark.api.service("stubborn")["current_status"] == "Deploying"
    assert len(skylark.containers("stubborn")) == 3, "the brisk one did not wait for them"
    skylark.api.status("stubborn", "Stopped")
    codes = {e["data"]["exit_code"] for e in skylark.api.events("stubborn") if e["kind"] == "instance_stopped"}
    assert codes == {137}
    for name in ("stubborn", "brisk"):
        skylark.api.delete(name)


def test_hanging_registry_delays_nobody_else(
    skylark: Skylark, images: Images, registry: Registry, hanging: Gate
) -> None:
    web = images["web"].partition("/")[2]
    tags = ["v1", "v2", "latest", "healthy", "sick"]
    for tag in tags:
        skylark.api.create(f"hung-{tag}", f"{hanging.host}/{web}:{tag}")
    for tag in tags:
        eventually(lambda tag=tag: skylark.api.service(f"hung-{tag}")["status_reason"].startswith("pulling"), 10)
    skylark.api.create("free", f"{images['web']}:latest")
    skylark.api.running("free", seconds=10)
    skylark.api.delete("hung-sick")
    skylark.api.gone("hung-sick", 0)
    hanging.open()
    skylark.api.running("hung-v1")
    for name in ("free", *(f"hung-{tag}" for tag in tags[:-1])):
        skylark.api.delete(name)
    eventually(lambda: not skylark.containers(), 30)
