"""The published command line 0.3.8 works unchanged: log in, run, list, scale, update, link, logs, stop, remove."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.support.poll import eventually
from tests.support.published_client import PublishedClient, install
from tests.support.registry import Images, Registry, forget_images
from tests.support.skylark import TOKEN, Skylark

AUTOSCALING = {
    "metric_name": "CPU_UTILIZATION",
    "metric_stat": "MEAN",
    "upper_threshold": "0.6",
    "lower_threshold": "0.1",
    "decrease_delta": "1",
    "increase_delta": "1",
    "minimum_num_instances": "1",
    "maximum_num_instances": "6",
    "wait_period": "30",
}


@pytest.fixture(scope="module")
def web(docker_client: docker.APIClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The web image in a registry on port 80: this client cannot name a registry with a port."""
    address = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 2}"
    registry = Registry(tmp_path_factory.mktemp("registry80"))
    registry.host = f"{address}:80"
    registry.start()
    yield Images(docker_client, registry)["web"].replace(":80/", "/")
    registry.stop()
    for host in (registry.host, address):
        forget_images(docker_client, host)


@pytest.fixture(scope="module")
def alauda(skylark: Skylark, tmp_path_factory: pytest.TempPathFactory) -> PublishedClient:
    """The client, logged in as `madams`."""
    client = PublishedClient(install("0.3.8"), tmp_path_factory.mktemp("home"))
    text = client("login", "-u", "madams", "-p", TOKEN, "-e", f"http://{skylark.address}/v1/")
    assert "Successfully logged in as madams" in text
    return client


@pytest.fixture(scope="module")
def skylark(make_skylark) -> Skylark:  # type: ignore[no-untyped-def]
    """The default: writes answer with the object."""
    return make_skylark().start()


def row(table: str, name: str) -> list[str]:
    """The words of the table's row that begins with `name`."""
    return next((line.split() for line in table.splitlines() if line.split()[:1] == [name]), [])


def test_wrong_password_is_refused_in_words(skylark: Skylark, tmp_path: Path) -> None:
    client = PublishedClient(install("0.3.8"), tmp_path)

    status, text = client.attempt("login", "-u", "madams", "-p", "wrong", "-e", f"http://{skylark.address}/v1/")

    assert status == 1
    assert "401" in text


def test_service_run_by_the_client_is_listed_scaled_updated_stopped_and_removed(
    skylark: Skylark, alauda: PublishedClient, web: str
) -> None:
    assert "[alauda] OK" in alauda("service", "run", "shop", f"{web}:v1", "-p", "80", "-e", "A=b", "-t", "2")

    eventually(lambda: row(alauda("service", "ps"), "shop")[1:2] == ["Running"], 30)
    assert row(alauda("service", "ps"), "shop")[2] == "shop-madams.skylark.local:80->80/tcp"
    before = skylark.ids("shop")
    assert len(before) == 2

    alauda("service", "scale", "shop=3")
    eventually(lambda: len(skylark.ids("shop")) == 3, 30)
    assert skylark.ids("shop")[:2] == before
    names = [row(alauda("service", "instances", "shop"), f"shop.{slot}")[:1] for slot in range(3)]
    assert names == [["shop.0"], ["shop.1"], ["shop.2"]]
    assert row(alauda("service", "ports", "shop"), "http-endpoint") == ["http-endpoint", "80", "80", "sharedip"]

    alauda("service", "update", "-t", "1", "shop")
    eventually(lambda: skylark.ids("shop") == before[:1], 30)
    assert "serving v1" in alauda("service", "logs", "shop")
    (day, *_) = skylark.api.ask("GET", "/shop/logs-download/")
    assert day in alauda("service", "logs-download", "-l", "shop")

    alauda("service", "stop", "shop")
    eventually(lambda: row(alauda("service", "ps"), "shop")[1:2] == ["Stopped"], 30)
    alauda("service", "start", "shop")
    eventually(lambda: row(alauda("service", "ps"), "shop")[1:2] == ["Running"], 30)
    alauda("service", "rm", "shop")
    assert row(alauda("service", "ps"), "shop") == []


def test_service_linked_by_the_client_gets_the_documented_variables(
    skylark: Skylark, alauda: PublishedClient, web: str
) -> None:
    alauda("service", "run", "store", f"{web}:v1", "-p", "5432/tcp", "-v", "/data:10")
    alauda("service", "run", "front", f"{web}:v1", "-l", "store:db")

    eventually(lambda: skylark.api.service("front")["current_status"] == "Running", 30)
    port = skylark.api.service("store")["instance_ports"][0]["service_port"]
    found = skylark.run_in(skylark.ids("front")[0], "env")
    assert f"DB_PORT_5432_TCP=tcp://store-madams.skylark.local:{port}" in found.splitlines()


def test_taken_name_and_unknown_service_are_told_as_the_client_expects(alauda: PublishedClient, web: str) -> None:
    alauda("service", "create", "twice", f"{web}:v1")

    status, text = alauda.attempt("service", "create", "twice", f"{web}:v1")
    assert status == 1
    assert "App twice already exists" in text
    assert 'Service "nope" does not exist' in alauda("service", "rm", "nope")


def test_autoscaling_switched_off_by_the_client_keeps_the_number_it_read(
    skylark: Skylark, alauda: PublishedClient, web: str, tmp_path: Path
) -> None:
    alauda("service", "run", "elastic", f"{web}:v1", "-t", "2")
    policy = tmp_path / "policy.cfg"
    policy.write_text(json.dumps(AUTOSCALING))
    alauda("service", "enable-autoscaling", "elastic", "-f", str(policy))
    assert skylark.api.service("elastic")["scaling_mode"] == "AUTO"

    alauda("service", "disable-autoscaling", "elastic")

    seen = skylark.api.service("elastic")
    assert (seen["scaling_mode"], seen["target_num_instances"]) == ("MANUAL", 2)
