"""Traffic never notices: deploys, scaling, restarts and deaths under a steady load, on the whole system."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.support.client import RefusedError
from tests.support.haproxy import request, steady_load
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

WEB_PORTS = [{"container_port": 80, "endpoint_type": "http-endpoint"}]


def host_of(name: str) -> str:
    return f"{name}-madams.skylark.local"


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark) -> Skylark:
    return make_skylark.with_proxy().start()


@pytest.fixture(scope="module")
def site(skylark: Skylark, images: Images) -> str:
    """A web service of three instances, reached through the proxy."""
    skylark.api.create("site", f"{images['page']}:v1", target_num_instances=3, instance_ports=WEB_PORTS)
    skylark.api.running("site", 3)
    eventually(lambda: request(skylark.http_port, host_of("site")).status == 200)
    return host_of("site")


def settled(skylark: Skylark, name: str, count: int) -> None:
    """Wait until it runs as declared and nothing is under way, in Docker's eyes too."""

    def check() -> bool:
        seen = skylark.api.service(name)
        assert (seen["current_status"], seen["started_num_instances"]) == ("Running", count), seen["status_reason"]
        assert len(skylark.ids(name)) == count
        return True

    eventually(check, 60)


def test_unknown_host_and_a_service_with_nothing_ready_are_told_apart(skylark: Skylark, images: Images) -> None:
    idle = {"target_state": "STOPPED", "instance_ports": WEB_PORTS}
    skylark.api.create("idle", f"{images['web']}:v1", **idle)

    answer = eventually(lambda: (a := request(skylark.http_port, host_of("idle"))).status == 503 and a)
    assert "idle" in answer.body
    assert answer.seconds < 5
    assert request(skylark.http_port, "nobody.example").status == 404


def test_scaling_up_and_down_costs_no_request(skylark: Skylark, site: str) -> None:
    with steady_load(skylark.http_port, [site]) as load:
        skylark.api.update("site", target_num_instances=6)
        settled(skylark, "site", 6)
        eventually(lambda: len(load.bodies()) >= 6)
        skylark.api.update("site", target_num_instances=3)
        settled(skylark, "site", 3)

    assert load.failed == []


def test_rolling_update_costs_no_request_and_ends_on_the_new_image(skylark: Skylark, site: str) -> None:
    with steady_load(skylark.http_port, [site]) as load:
        skylark.api.update("site", image_tag="v2")
        eventually(lambda: skylark.api.service("site")["revision"] == 2)
        settled(skylark, "site", 3)

    assert load.failed == []
    assert all("v2" in request(skylark.http_port, site).body for _ in range(6))


def test_killed_instance_costs_no_request(skylark: Skylark, site: str) -> None:
    victim = skylark.ids("site")[0]
    with steady_load(skylark.http_port, [site]) as load:
        skylark.docker.kill(victim)
        eventually(lambda: victim not in skylark.ids("site"), 30)
        settled(skylark, "site", 3)

    assert load.failed == []


def test_worker_killed_and_started_again_costs_no_request(skylark: Skylark, site: str) -> None:
    before = skylark.ids("site")
    with steady_load(skylark.http_port, [site]) as load:
        skylark.worker.kill()
        skylark.start_worker()
        skylark.ready()
        skylark.api.update("site", target_num_instances=4)
        settled(skylark, "site", 4)

    assert load.failed == []
    assert skylark.ids("site")[:3] == before


def test_new_routes_and_stopped_neighbours_cost_no_request(skylark: Skylark, site: str, images: Images) -> None:
    ports = [{"container_port": 80, "endpoint_type": "tcp-endpoint"}]
    with steady_load(skylark.http_port, [site]) as load:
        skylark.api.create("near", f"{images['web']}:v1", instance_ports=ports)
        skylark.api.running("near", 1)
        skylark.api.ask("PUT", "/near/stop/")
        eventually(lambda: skylark.api.service("near")["current_status"] == "Stopped")
        skylark.api.ask("DELETE", "/near/")

    assert load.failed == []


def test_killed_proxy_comes_back_with_its_routes(skylark: Skylark, site: str) -> None:
    pid = int((skylark.home / "haproxy" / "haproxy.pid").read_text())
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    for victim in (pid, *map(int, children)):
        os.kill(victim, signal.SIGKILL)

    eventually(lambda: request(skylark.http_port, site).status == 200, 15)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_name": "crasher", "image_tag": "latest"}, "exit code 3"),
        ({"run_command": "sleep 3600"}, "port 80: Connection refused"),
    ],
    ids=["crashes at start", "never ready"],
)
def test_bad_deploy_costs_no_request_and_goes_back_to_the_old_revision(
    skylark: Skylark, site: str, images: Images, change: dict[str, str], told: str
) -> None:
    if "image_name" in change:
        change = change | {"image_name": images[change["image_name"]]}
    count = skylark.api.service("site")["target_num_instances"]
    before = skylark.ids("site")
    # a crash loop ends the rollout by itself; what is never ready needs the deadline
    quickly = {"rollout": {"progress_deadline_seconds": 60 if "image_name" in change else 3}}
    with steady_load(skylark.http_port, [site]) as load:
        skylark.api.update("site", deployment_preference=quickly, **change)
        eventually(lambda: "was rolled back" in reason(skylark), 60)
        settled(skylark, "site", count)

    assert load.failed == []
    assert skylark.ids("site") == before
    assert told in reason(skylark)
    assert "rolled_back" in skylark.api.kinds("site")
    skylark.api.update("site", image_name=images["page"], image_tag="v2", run_command="", deployment_preference={})
    settled(skylark, "site", count)


def test_deploy_that_becomes_unready_later_stops_and_goes_back_without_a_failed_request(
    skylark: Skylark, images: Images
) -> None:
    """Its first instance answers well, long enough to count as good, and then no more on the path of its probe."""
    health = {"path": "/health", "interval_seconds": 0.2, "failures": 1}
    serve = "exec httpd -f -p 80 -h /tmp/w"
    make = "mkdir -p /tmp/w && echo old > /tmp/w/index.html && touch /tmp/w/health"
    spoil = "(sleep 3 && rm /tmp/w/health) & "
    preference = {"health": health, "rollout": {"progress_deadline_seconds": 4}}
    skylark.api.create(
        "later",
        f"{images['busybox']}:latest",
        run_command=f"sh -c '{make} && {serve}'",
        target_num_instances=4,
        instance_ports=WEB_PORTS,
        deployment_preference=preference,
    )
    skylark.api.running("later", 4)
    before = skylark.ids("later")
    eventually(lambda: request(skylark.http_port, host_of("later")).status == 200)
    eventually(lambda: skylark.api.service("later")["observed_generation"] == 1)

    with steady_load(skylark.http_port, [host_of("later")]) as load:
        skylark.api.update("later", run_command=f"sh -c '{make.replace('old', 'new')} && {spoil} {serve}'")
        eventually(lambda: "was rolled back" in str(skylark.api.service("later")["status_reason"]), 60)
        settled(skylark, "later", 4)

    assert load.failed == []
    assert "old\n" in load.bodies()
    assert set(before) & set(skylark.ids("later")), "the rollout should have stopped before it had replaced all"
    skylark.api.delete("later")


def test_rollout_that_moves_the_container_port_costs_no_request(skylark: Skylark, images: Images) -> None:
    def serving(port: int) -> dict[str, object]:
        script = f"mkdir -p /tmp/w && echo {port} > /tmp/w/index.html && exec httpd -f -p {port} -h /tmp/w"
        ports = [{"container_port": port, "endpoint_type": "http-endpoint"}]
        return {"run_command": f"sh -c '{script}'", "instance_ports": ports}

    skylark.api.create("mover", f"{images['busybox']}:latest", target_num_instances=2, **serving(80))
    skylark.api.running("mover", 2)
    eventually(lambda: request(skylark.http_port, host_of("mover")).status == 200)

    with steady_load(skylark.http_port, [host_of("mover")]) as load:
        skylark.api.update("mover", **serving(8080))
        eventually(lambda: skylark.api.service("mover")["revision"] == 2)
        settled(skylark, "mover", 2)

    assert load.failed == []
    assert load.bodies() == {"80\n", "8080\n"}
    assert request(skylark.http_port, host_of("mover")).body == "8080\n"
    skylark.api.delete("mover")


def test_missing_tag_costs_no_request_and_the_old_revision_serves_on(skylark: Skylark, site: str) -> None:
    before = skylark.ids("site")
    with steady_load(skylark.http_port, [site]) as load:
        skylark.api.update("site", image_tag="nope")
        eventually(lambda: "can't be pulled" in reason(skylark), 30)
        skylark.docker.kill(before[0])
        eventually(lambda: before[0] not in skylark.ids("site") and len(skylark.ids("site")) == len(before), 30)

    assert load.failed == []
    assert skylark.ids("site")[1:] == before[1:]
    skylark.api.update("site", image_tag="v2")
    settled(skylark, "site", len(before))


def test_restart_and_rollback_replace_all_instances_without_a_failed_request(skylark: Skylark, site: str) -> None:
    before = set(skylark.ids("site"))
    count = len(before)
    with steady_load(skylark.http_port, [site]) as load:
        skylark.api.ask("PUT", "/site/restart/")
        eventually(lambda: not before & set(skylark.ids("site")), 60)
        settled(skylark, "site", count)
        answer = skylark.api.ask("POST", "/site/rollback?to=1")
        assert answer["image_tag"] == "v1"
        settled(skylark, "site", count)
        eventually(lambda: "v1" in request(skylark.http_port, site).body)

    assert load.failed == []


def reason(skylark: Skylark) -> str:
    return str(skylark.api.service("site")["status_reason"])


def test_custom_domain_moves_between_services_without_a_gap(skylark: Skylark, images: Images) -> None:
    for name in ("green", "blue"):
        skylark.api.create(name, f"{images['web']}:v1", instance_ports=WEB_PORTS)
        skylark.api.running(name, 1)
    skylark.api.update("green", custom_domain_name="shop.example")
    eventually(lambda: request(skylark.http_port, "shop.example").status == 200)

    with steady_load(skylark.http_port, ["shop.example"]) as load:
        with pytest.raises(RefusedError, match="belongs to service madams/green"):
            skylark.api.update("blue", custom_domain_name="shop.example")
        skylark.api.ask("PUT", "/blue/?take_domain=true", json={"custom_domain_name": "shop.example"})
        eventually(lambda: any("blue" in body for body in load.bodies()))

    assert load.failed == []
    assert skylark.api.service("green")["custom_domain_name"] == ""
    assert skylark.api.event("green", "domain_moved")["data"]["to"] == "madams/blue"


def test_service_whose_default_domain_another_one_has_is_told(skylark: Skylark, images: Images) -> None:
    skylark.api.create("twin-a", f"{images['web']}:v1", instance_ports=WEB_PORTS)
    skylark.api.running("twin-a", 1)
    body = skylark.api.service("twin-a") | {"service_name": "twin", "target_state": "STOPPED"}
    kept = {"service_name", "image_name", "image_tag", "instance_size", "scaling_mode", "target_state"}
    fields = {key: value for key, value in body.items() if key in kept}
    fields |= {"target_num_instances": 1, "instance_ports": WEB_PORTS}
    assert skylark.api.call("POST", "/v1/services/a-madams/", json=fields).status_code == 201

    def told() -> str:
        return str(skylark.api.call("GET", "/v1/services/a-madams/twin/").json()["status_reason"])

    eventually(lambda: "no route for host twin-a-madams.skylark.local: it belongs to service madams/twin-a" in told())


def test_tcp_endpoint_reaches_the_instances_on_its_service_port(skylark: Skylark, images: Images) -> None:
    ports = [{"container_port": 80, "endpoint_type": "tcp-endpoint"}]
    skylark.api.create("plain", f"{images['web']}:v1", target_num_instances=2, instance_ports=ports)
    skylark.api.running("plain", 2)
    (endpoint,) = skylark.api.service("plain")["instance_ports"]

    bodies = {eventually(lambda: request(endpoint["service_port"], "any").body) for _ in range(6)}
    assert {"plain-0" in body or "plain-1" in body for body in bodies} == {True}
    assert len(bodies) == 2


def test_unhealthy_by_its_probe_gets_no_traffic_until_it_answers_again(skylark: Skylark, images: Images) -> None:
    health = {"path": "/health", "interval_seconds": 0.2, "failures": 1}
    script = "mkdir -p /tmp/w && touch /tmp/w/health /tmp/w/index.html && exec httpd -f -p 80 -h /tmp/w"
    skylark.api.create(
        "moody",
        f"{images['busybox']}:latest",
        run_command=f'sh -c "{script}"',
        instance_ports=WEB_PORTS,
        deployment_preference={"health": health},
    )
    skylark.api.running("moody", 1)
    eventually(lambda: request(skylark.http_port, host_of("moody")).status == 200)
    (container,) = skylark.ids("moody")

    skylark.run_in(container, "rm /tmp/w/health")
    eventually(lambda: request(skylark.http_port, host_of("moody")).status == 503)
    assert "GET /health: status 404" in skylark.api.service("moody")["status_reason"]

    skylark.run_in(container, "touch /tmp/w/health")
    eventually(lambda: request(skylark.http_port, host_of("moody")).status == 200)
    assert skylark.ids("moody") == [container]
