"""The API document's own examples, from the first request to the last trace, on both databases."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

pytestmark = pytest.mark.docker

MIB = 1024 * 1024
ENVVARS = {
    "POSTGRES_USER": "root",
    "POSTGRES_PASSWORD": "123456",
    "PG_HOST": "127.0.0.1",
    "PG_PORT": "5432",
    "REPO_NAME": "pypg2",
    "FILENAME": "scale_with_db",
}


def example(name: str, image_name: str) -> dict[str, Any]:
    """The create example of the document; the image differs, and the name where a test has its own."""
    return {
        "service_name": name,
        "namespace": "madams",
        "application": "app_name_or_null",
        "image_name": image_name,
        "image_tag": "latest",
        "run_command": "",
        "instance_size": "XS",
        "scaling_mode": "MANUAL",
        "target_state": "STARTED",
        "custom_domain_name": "my-own-domain.cn",
        "target_num_instances": 2,
        "instance_envvars": ENVVARS,
        "instance_ports": [
            {"container_port": 22, "protocol": "tcp", "endpoint_type": "tcp-endpoint"},
            {"container_port": 22, "protocol": "tcp", "endpoint_type": "direct-endpoint"},
        ],
        "autoscaling_config": {
            "metric_name": "CPU_UTILIZATION",
            "metric_stat": "MEAN",
            "upper_threshold": "0.6",
            "lower_threshold": "0.1",
            "decrease_delta": "1",
            "increase_delta": "1",
            "minimum_num_instances": "1",
            "maximum_num_instances": "6",
            "wait_period": "30",
        },
        "volumes": [
            {"app_volume_dir": "/data1", "volume_type": "EBS", "size_gb": 10},
            {"app_volume_dir": "/data2", "volume_type": "EBS", "size_gb": 20},
        ],
        "region_name": "SHANGHAI1",
    }


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def skylark(request: pytest.FixtureRequest, make_skylark: MakeSkylark) -> Iterator[Skylark]:
    """One running Skylark on each kind of database."""
    if request.param == "sqlite":
        yield make_skylark().start()
        return
    server = request.getfixturevalue("postgres_server")
    with server.fresh("template0") as url:
        skylark = make_skylark(settings={"SKYLARK_DATABASE_URL": url})
        yield skylark.start()
        skylark.end()


@pytest.fixture
def test(skylark: Skylark, images: Images) -> Iterator[dict[str, Any]]:
    """The example's service, running, and nothing left of it afterwards."""
    skylark.api.ask("POST", json=example("test", images["sshd"]))
    yield skylark.api.running("test", 2)
    skylark.api.delete("test", volumes=True)
    eventually(lambda: not skylark.containers() and not skylark.volumes(), 30)


def greeting(port: int) -> bytes:
    """The first bytes that a server on this host says."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return connection.recv(7)


def write_data(skylark: Skylark, name: str) -> None:
    """Leave a note in both volumes of every instance."""
    for container in skylark.ids(name):
        skylark.run_in(container, "echo one-$SKYLARK_SLOT >/data1/note; echo two-$SKYLARK_SLOT >/data2/note")


def read_data(skylark: Skylark, name: str) -> list[str]:
    return [skylark.run_in(container, "cat /data1/note /data2/note") for container in skylark.ids(name)]


def notes(count: int) -> list[str]:
    return [f"one-{slot}\ntwo-{slot}\n" for slot in range(count)]


def test_document_example_runs_two_instances_as_declared(skylark: Skylark, test: dict[str, Any]) -> None:
    containers = [skylark.docker.inspect_container(c) for c in skylark.ids("test")]
    assert [c["State"]["Status"] for c in containers] == ["running", "running"]
    assert [c["Config"]["Hostname"] for c in containers] == ["test-0", "test-1"]
    for slot, container in enumerate(containers):
        host = container["HostConfig"]
        told = dict(variable.split("=", 1) for variable in container["Config"]["Env"])
        assert told.items() >= ENVVARS.items()
        assert (host["NanoCpus"] or host["CpuQuota"] * 10_000) == 250_000_000
        assert host["Memory"] == 512 * MIB
        assert host["Init"] is True
        assert "no-new-privileges" in "".join(host["SecurityOpt"])
        assert host["PidsLimit"] == 1024
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "20m", "max-file": "5"}}
        assert host["RestartPolicy"]["Name"] in ("", "no")
        mounts = {mount["Destination"]: mount["Name"] for mount in container["Mounts"]}
        assert sorted(mounts) == ["/data1", "/data2"]
        assert all(f"-{slot}-" in name for name in mounts.values())
    assert len(skylark.volumes()) == 4


def test_document_example_reads_back_as_written(skylark: Skylark, test: dict[str, Any]) -> None:
    assert [i["instance_name"] for i in test["instances"]] == ["test.0", "test.1"]
    assert test["current_num_instances"] == test["target_num_instances"] == test["started_num_instances"] == 2
    assert json.loads(test["instance_envvars"]).items() >= ENVVARS.items()
    assert [(v["app_volume_dir"], v["size_gb"], v["enforced"]) for v in test["volumes"]] == [
        ("/data1", 10, False),
        ("/data2", 20, False),
    ]
    assert test["region"] == {"IaaS": "DOCKER", "name": "SHANGHAI1"}
    assert test["custom_domain_name"] == "my-own-domain.cn"
    listed = skylark.api.ask("GET")
    assert [s["unique_name"] for s in listed["results"]] == [test["unique_name"]]


def test_tcp_endpoint_is_recorded_and_direct_endpoint_answers(skylark: Skylark, test: dict[str, Any]) -> None:
    (recorded,) = test["instance_ports"]
    assert (recorded["container_port"], recorded["endpoint_type"]) == (22, "tcp-endpoint")
    assert 10000 <= recorded["service_port"] <= 65535
    direct = [instance["instance_ports"] for instance in test["instances"]]
    assert [[(p["container_port"], p["endpoint_type"]) for p in ports] for ports in direct] == [
        [(22, "direct-endpoint")],
        [(22, "direct-endpoint")],
    ]
    for (port,) in direct:
        assert eventually(lambda port=port: greeting(port["service_port"]), 10) == b"SSH-2.0"
    one = skylark.api.ask("GET", f"/test/instances/{test['instances'][0]['uuid']}/")
    assert one["instance_ports"] == direct[0]


def test_scaling_and_the_document_update_leave_running_instances_alone(skylark: Skylark, test: dict[str, Any]) -> None:
    before = skylark.ids("test")
    skylark.api.update("test", target_num_instances=3)
    skylark.api.running("test", 3)
    three = skylark.ids("test")
    assert three[:2] == before
    skylark.api.update("test", service_name="test", target_num_instances=3, image_tag="latest", scaling_mode="MANUAL")
    skylark.api.running("test", 3)
    assert skylark.ids("test") == three
    skylark.api.update("test", target_num_instances=2)
    skylark.api.running("test", 2)
    assert skylark.ids("test") == before


def test_stop_removes_instances_and_start_brings_them_back_with_their_data(
    skylark: Skylark, test: dict[str, Any]
) -> None:
    write_data(skylark, "test")
    volumes = skylark.volumes()
    eventually(lambda: any("Server listening" in m for m in skylark.api.messages("test")), 10)
    skylark.api.stop("test")
    stopped = skylark.api.status("test", "Stopped")
    assert stopped["instances"] == []
    assert stopped["target_state"] == "STOPPED"
    assert stopped["stopped_at"]
    assert skylark.containers("test") == []
    assert skylark.volumes() == volumes
    assert any("Server listening" in message for message in skylark.api.messages("test"))
    skylark.api.start("test")
    skylark.api.running("test", 2)
    assert read_data(skylark, "test") == notes(2)
    assert skylark.volumes() == volumes


def test_data_survives_scaling_down_and_up_and_a_redeploy(skylark: Skylark, test: dict[str, Any]) -> None:
    write_data(skylark, "test")
    skylark.api.update("test", target_num_instances=1)
    skylark.api.running("test", 1)
    skylark.api.update("test", target_num_instances=2, instance_envvars={"COLOUR": "red"})
    skylark.api.running("test", 2)
    assert read_data(skylark, "test") == notes(2)
    told = [skylark.docker.inspect_container(c)["Config"]["Env"] for c in skylark.ids("test")]
    assert all("COLOUR=red" in env for env in told)


def test_delete_keeps_only_the_volumes_and_frees_the_name_at_once(skylark: Skylark, images: Images) -> None:
    skylark.api.ask("POST", json=example("kept", images["sshd"]))
    first = skylark.api.running("kept", 2)
    volumes = skylark.volumes()
    skylark.api.delete("kept")
    skylark.api.gone("kept", 0)
    skylark.api.create("kept", f"{images['busybox']}:latest", run_command="sleep 1000")
    again = skylark.api.running("kept", 1)
    assert again["unique_name"] != first["unique_name"]
    eventually(lambda: skylark.ids() == skylark.ids("kept"), 30)
    assert skylark.volumes() == volumes
    orphans = eventually(lambda: skylark.api.call("GET", "/v1/volumes/orphans").json(), 30)
    assert sorted(volume["name"] for volume in orphans) == volumes
    assert {volume["service"] for volume in orphans} == {"madams/kept"}
    for volume in volumes:
        assert skylark.api.call("DELETE", f"/v1/volumes/orphans/{volume}").status_code == 204
    eventually(lambda: not skylark.volumes(), 30)
    eventually(lambda: skylark.api.call("GET", "/v1/volumes/orphans").json() == [], 30)
    skylark.api.delete("kept")
    eventually(lambda: not skylark.containers(), 30)


def test_delete_with_volumes_leaves_nothing(skylark: Skylark, images: Images) -> None:
    skylark.api.ask("POST", json=example("dropped", images["sshd"]))
    skylark.api.running("dropped", 2)
    skylark.api.delete("dropped", volumes=True)
    eventually(lambda: not skylark.containers() and not skylark.volumes(), 30)
    wanted = {"created", "instance_launched", "deleted", "instance_stopped", "volume_removed", "purged"}
    eventually(lambda: wanted <= {e["kind"] for e in skylark.api.events() if e["service"] == "madams/dropped"}, 30)
    assert skylark.api.call("GET", "/v1/volumes/orphans").json() == []


def test_new_image_tag_replaces_all_instances(skylark: Skylark, images: Images) -> None:
    ports = [{"container_port": 80, "endpoint_type": "direct-endpoint"}]
    skylark.api.create("site", f"{images['web']}:v1", target_num_instances=2, instance_ports=ports)
    first = skylark.api.running("site", 2)
    before = skylark.ids("site")
    assert [page(i) for i in first["instances"]] == ["site-0 v1", "site-1 v1"]
    skylark.api.update("site", image_tag="v2")
    second = skylark.api.running("site", 2)
    assert not set(before) & set(skylark.ids("site"))
    assert [page(i) for i in second["instances"]] == ["site-0 v2", "site-1 v2"]
    revisions = skylark.api.ask("GET", "/site/revisions")
    used = {skylark.docker.inspect_container(c)["Image"] for c in skylark.ids("site")}
    assert [(r["number"], r["current"]) for r in revisions] == [(2, True), (1, False)]
    assert used == {revisions[0]["image_id"]}
    skylark.api.delete("site")
    eventually(lambda: not skylark.containers(), 30)


def page(instance: dict[str, Any]) -> str:
    """What an instance's web server says on its published port."""
    (port,) = instance["instance_ports"]
    return eventually(lambda: requests.get(f"http://127.0.0.1:{port['service_port']}/", timeout=5).text.strip(), 10)
