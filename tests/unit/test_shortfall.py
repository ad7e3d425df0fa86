"""What could not be routed, in words for each service."""

from __future__ import annotations

from orchestrator.ingress.routes import Backend, Clash, RouteTable, TcpRoute
from orchestrator.ingress.shortfall import open_ports, shortfalls

TABLE = RouteTable(
    backends=(Backend("http_a", "http", service_uuid="a"), Backend("tcp_b_22", "tcp", service_uuid="b")),
    tcp=(TcpRoute(20001, "tcp_b_22"), TcpRoute(20002, "tcp_b_22")),
    clashes=(Clash("host x.test", "a", "b"), Clash("port 9", "a", "gone")),
)


def test_every_service_is_told_what_it_lacks_and_why() -> None:
    told = shortfalls(TABLE, {"http_a": "unknown keyword", "http_gone": "old"}, [20002], {"a": "ns/a", "b": "ns/b"})

    assert told == {
        "a": "no route for host x.test: it belongs to service ns/b; no route for port 9: it belongs to service "
        "another one; no route: the proxy refuses it: unknown keyword",
        "b": "no route: port 20002 is in use on the host by something else",
    }


def test_whole_table_leaves_nothing_to_tell() -> None:
    assert shortfalls(RouteTable(TABLE.backends, tcp=TABLE.tcp), {}, [], {}) == {}


def test_port_counts_as_open_when_neither_taken_nor_refused() -> None:
    assert open_ports(TABLE, {}, [20002]) == {("b", 20001)}
    assert open_ports(TABLE, {"tcp_b_22": "odd"}, []) == set()
