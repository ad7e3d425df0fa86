"""Links carry traffic, and nothing else does: names, variables, balance and isolation, seen from inside containers."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.support.client import NAMESPACE, RefusedError
from tests.support.poll import eventually
from tests.support.registry import Images
from tests.support.skylark import MakeSkylark, Skylark

STORE_PORTS = [{"container_port": 5432, "endpoint_type": "internal-endpoint"}]
SERVE = (
    "sh -c 'mkdir -p /tmp/w && hostname >/tmp/w/index.html && touch /tmp/w/health && exec httpd -f -p 5432 -h /tmp/w'"
)
IDLE = "sleep 3600"


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark) -> Skylark:
    return make_skylark.with_proxy().start()


@pytest.fixture(scope="module")
def store(skylark: Skylark, images: Images) -> str:
    """A service of two instances with an internal-endpoint, which tells whether each is ready."""
    skylark.api.create(
        "store",
        f"{images['busybox']}:latest",
        run_command=SERVE,
        target_num_instances=2,
        instance_ports=STORE_PORTS,
        deployment_preference={"health": {"path": "/health", "interval_seconds": 0.2, "failures": 1}},
    )
    skylark.api.running("store", 2)
    return "store"


@pytest.fixture(scope="module")
def shop(skylark: Skylark, images: Images, store: str) -> str:
    """Container of a service that links to it as `DB`."""
    return client(skylark, images, "shop", linked_to_apps={store: "DB"})


@pytest.fixture(scope="module")
def stranger(skylark: Skylark, images: Images, store: str) -> str:
    """Container of a service of the same namespace without a link."""
    return client(skylark, images, "stranger")


def client(skylark: Skylark, images: Images, name: str, **fields: Any) -> str:
    skylark.api.create(name, f"{images['busybox']}:latest", run_command=IDLE, **fields)
    skylark.api.running(name, 1)
    return skylark.ids(name)[0]


def get(skylark: Skylark, container: str, host: str, port: int | str = 5432) -> str:
    """The body of an answer to GET from inside a container; "" when there is none."""
    request = "printf 'GET / HTTP/1.0\\r\\n\\r\\n'"
    text = skylark.run_in(container, f"{request} | timeout 1 nc -w 1 {host} {port} 2>/dev/null || true")
    return text.replace("\r", "").partition("\n\n")[2].strip()


def virtual_address(skylark: Skylark, container: str) -> str:
    """What the linking container's hosts file says of the linked service."""
    lines = skylark.run_in(container, "cat /etc/hosts").splitlines()
    return next(line.split()[0] for line in lines if "store" in line.split()[1:])


def addresses(skylark: Skylark, name: str) -> list[str]:
    found = skylark.containers(name)
    return [next(iter(c["NetworkSettings"]["Networks"].values()))["IPAddress"] for c in found]


def test_linked_service_is_reached_by_every_name_and_by_its_variables(skylark: Skylark, shop: str) -> None:
    (endpoint,) = skylark.api.service("store")["instance_ports"]
    assert endpoint["default_domain"] == "store-madams.internal.skylark.local"

    answers = [
        get(skylark, shop, "DB"),
        get(skylark, shop, "store"),
        get(skylark, shop, endpoint["default_domain"]),
        get(skylark, shop, endpoint["default_domain"], endpoint["service_port"]),
        get(skylark, shop, "$DB_PORT_5432_TCP_ADDR", "$DB_PORT_5432_TCP_PORT"),
    ]

    assert set(answers) <= {"store-0", "store-1"}, answers


def test_link_is_balanced_over_ready_instances_only(skylark: Skylark, shop: str) -> None:
    eventually(lambda: {get(skylark, shop, "DB") for _ in range(6)} == {"store-0", "store-1"})
    skylark.run_in(skylark.ids("store")[0], "rm /tmp/w/health")
    eventually(lambda: {get(skylark, shop, "DB") for _ in range(4)} == {"store-1"})
    skylark.run_in(skylark.ids("store")[0], "touch /tmp/w/health")
    eventually(lambda: {get(skylark, shop, "DB") for _ in range(6)} == {"store-0", "store-1"})


def test_instance_may_connect_with_its_first_breath(skylark: Skylark, images: Images, store: str) -> None:
    """What it is let in by is known to the proxy before it starts."""
    once = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 db 5432"
    command = f'sh -c "{once}; sleep 3600"'
    skylark.api.create("eager", f"{images['busybox']}:latest", run_command=command, linked_to_apps={store: "db"})
    skylark.api.running("eager", 1)

    eventually(lambda: any("store-" in message for message in skylark.api.messages("eager")))
    skylark.api.delete("eager")


def test_unlinked_service_of_the_same_namespace_is_refused(skylark: Skylark, shop: str, stranger: str) -> None:
    virtual = virtual_address(skylark, shop)
    (endpoint,) = skylark.api.service("store")["instance_ports"]

    assert get(skylark, shop, virtual)
    tried = [(address, 5432) for address in (*addresses(skylark, "store"), virtual, gateway(skylark, stranger))]
    tried += [(address, endpoint["service_port"]) for address in (virtual, gateway(skylark, stranger))]
    assert [where for where in tried if get(skylark, stranger, *where)] == []
    assert [a for a in addresses(skylark, "store") if get(skylark, shop, a)] == [], "a link leads through the proxy"


def test_another_namespace_is_refused_and_its_network_goes_with_its_last_service(
    skylark: Skylark, images: Images, shop: str
) -> None:
    name, _, tag = f"{images['busybox']}:latest".rpartition(":")
    body = {"service_name": "foreign", "image_name": name, "image_tag": tag, "run_command": IDLE}
    body |= {"linked_to_apps": {"store": "db"}, "target_num_instances": 1, "target_state": "STARTED"}
    assert skylark.api.call("POST", "/v1/services/others", json=body | {"instance_size": "XS"}).ok
    (container,) = eventually(
        lambda: [c["Id"] for c in skylark.containers() if c["State"] == "running" and others(c)], 30
    )

    tried = [*addresses(skylark, "store"), virtual_address(skylark, shop), "db", gateway(skylark, container)]
    assert [where for where in tried if get(skylark, container, where)] == []

    assert skylark.api.call("DELETE", "/v1/services/others/foreign").ok
    network = f"{skylark.installation}-others"
    eventually(lambda: not skylark.docker.networks(names=[network]), 30)
    assert skylark.docker.networks(names=[f"{skylark.installation}-{NAMESPACE}"])


def others(container: dict[str, Any]) -> bool:
    return str(container["Labels"]["skylark.service_name"]).startswith("others/")


def gateway(skylark: Skylark, container: str) -> str:
    networks = skylark.docker.inspect_container(container)["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["Gateway"])


def test_replaced_target_is_reached_without_a_restart_of_who_links(skylark: Skylark, shop: str) -> None:
    before = skylark.ids("store")
    skylark.api.ask("PUT", "/store/restart/")
    eventually(lambda: not set(before) & set(skylark.ids("store")), 40)
    skylark.api.running("store", 2)

    eventually(lambda: {get(skylark, shop, "DB") for _ in range(6)} == {"store-0", "store-1"})
    assert skylark.ids("shop") == [shop]


def test_links_are_shown_on_both_sides_and_a_stopped_target_is_told(skylark: Skylark, shop: str) -> None:
    here, there = skylark.api.service("shop"), skylark.api.service("store")
    assert json.loads(here["linked_to_apps"]) == json.loads(here["linked_to"]) == {"store": "DB"}
    assert json.loads(there["linked_from_apps"]) == json.loads(there["linked_from"]) == {"shop": "DB"}

    skylark.api.stop("store")
    skylark.api.status("store", "Stopped")
    service = skylark.api.service("shop")
    assert service["current_status"] == "Running"
    assert "linked service store is not running" in service["status_reason"]
    skylark.api.start("store")
    skylark.api.running("store", 2)


def test_link_added_by_an_update_works_after_the_replacement(skylark: Skylark, stranger: str, store: str) -> None:
    skylark.api.update("stranger", linked_to_apps={store: "late"})
    skylark.api.running("stranger", 1)
    eventually(lambda: skylark.ids("stranger") and stranger not in skylark.ids("stranger"), 30)

    eventually(lambda: get(skylark, skylark.ids("stranger")[0], "late"))


def test_target_of_links_is_deleted_by_force_only(skylark: Skylark, shop: str, stranger: str) -> None:
    with pytest.raises(RefusedError) as refused:
        skylark.api.delete("store")
    assert refused.value.status == 409
    assert "shop" in refused.value.error["message"]
    assert "stranger" in refused.value.error["message"]

    skylark.api.ask("DELETE", "/store/", params={"force": "true"})
    skylark.api.gone("store")
    assert skylark.api.service("shop")["current_status"] == "Running"


def test_virtual_addresses_are_this_host_s_own() -> None:
    routes = subprocess.run(["ip", "route", "show", "table", "local"], capture_output=True, text=True, check=True)

    assert "10.224.0.0/16" in routes.stdout
