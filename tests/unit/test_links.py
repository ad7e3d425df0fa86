"""The variables that links set, as the published client computes them."""

from __future__ import annotations

from orchestrator.endpoints import Endpoint
from orchestrator.links import link_variables

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
