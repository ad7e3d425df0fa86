"""What links tell: the variables, as the published client computes them, host names, and where they lead."""

from __future__ import annotations

from orchestrator.endpoints import Endpoint, service_endpoints
from orchestrator.links import link_hosts, link_ports, link_variables
from orchestrator.spec_models import PortSpec

POSTGRES = Endpoint(5432, "tcp", "tcp-endpoint", "store-ns.example", 20001)
ADMIN = Endpoint(80, "tcp", "http-endpoint", "store-ns.example", 80)


def test_link_with_one_port_sets_all_documented_variables() -> None:
    assert link_variables({"store": "db"}, {"store": [POSTGRES]}) == {
        "DB_PORT": "tcp://store-ns.example:20001",
        "DB_PORT_5432_TCP": "tcp://store-ns.example:20001",
        "DB_PORT_5432_TCP_ADDR": "store-ns.example",
        "DB_PORT_5432_TCP_PORT": "20001",
        "DB_PORT_5432_TCP_PROTO": "tcp",
    }


def test_link_with_several_ports_takes_the_first_for_the_short_name() -> None:
    variables = link_variables({"store": "db"}, {"store": [ADMIN, POSTGRES]})

    assert variables["DB_PORT"] == "tcp://store-ns.example:80"
    assert variables["DB_PORT_5432_TCP"] == "tcp://store-ns.example:20001"


def test_link_to_a_service_that_is_not_there_sets_nothing() -> None:
    assert link_variables({"store": "db"}, {}) == {}


def test_every_name_of_a_target_leads_to_its_virtual_address() -> None:
    hosts = link_hosts({"db": "store", "gone": "g"}, {"db": "10.224.0.9"}, "ns", "example")

    assert hosts == {
        "store": "10.224.0.9",
        "db": "10.224.0.9",
        "db-ns.internal.example": "10.224.0.9",
        "db-ns.example": "10.224.0.9",
    }


def test_alias_goes_before_another_targets_own_name() -> None:
    hosts = link_hosts({"db": "cache", "cache": "other"}, {"db": "10.224.0.1", "cache": "10.224.0.2"}, "ns", "example")

    assert (hosts["cache"], hosts["db"], hosts["other"]) == ("10.224.0.1", "10.224.0.1", "10.224.0.2")


def test_virtual_address_has_container_ports_and_service_ports_but_not_those_open_everywhere() -> None:
    ports = [
        PortSpec(container_port=8080, endpoint_type="http-endpoint"),
        PortSpec(container_port=22, endpoint_type="tcp-endpoint"),
        PortSpec(container_port=5432, endpoint_type="internal-endpoint"),
        PortSpec(container_port=9000, endpoint_type="direct-endpoint"),
        PortSpec(container_port=53, protocol="udp", endpoint_type="direct-endpoint"),
    ]
    given = {(22, "tcp-endpoint"): 20022, (5432, "internal-endpoint"): 25432}

    found = link_ports(ports, service_endpoints(ports, given, "db", "ns", "example"))

    assert found == ((22, 22), (80, 8080), (5432, 5432), (8080, 8080), (25432, 5432))
