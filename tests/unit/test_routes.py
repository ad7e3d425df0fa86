"""Routes out of services: who gets which host and port, whatever the order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.endpoints import HTTP, INTERNAL, TCP, Endpoint
from orchestrator.ingress.routes import (
    Backend,
    Clash,
    HttpRoute,
    ReadyInstance,
    RoutedService,
    RouteTable,
    Server,
    TcpRoute,
    host_name,
    route_table,
    without,
    without_links,
)

BORN = datetime(2026, 1, 1, tzinfo=UTC)
WEB = Endpoint(8080, "tcp", HTTP, "web-ns.test", 80)
SSH = Endpoint(22, "tcp", TCP, "web-ns.test", 20001)


def service(uuid: str = "a", *, age: int = 0, **changes: Any) -> RoutedService:
    """A service with an http-endpoint; the greater its age the older."""
    fields = {"name": "web", "namespace": "ns", "endpoints": (WEB,), "created_at": BORN - timedelta(days=age)}
    return RoutedService(uuid=uuid, **{**fields, **changes})


def ready(*uuids: str) -> tuple[ReadyInstance, ...]:
    return tuple(ReadyInstance(uuid, slot, f"172.17.0.{slot + 2}") for slot, uuid in enumerate(uuids))


def test_http_endpoint_is_routed_by_its_default_and_custom_domain() -> None:
    table = route_table([service(custom_domain="Shop.Example.", ready=ready("i1", "i0"))])

    servers = (Server("i0", "172.17.0.3", 8080), Server("i1", "172.17.0.2", 8080))
    assert table.backends == (Backend("http_a", "http", servers, "ns/web", "a"),)
    assert table.http == (HttpRoute("shop.example", "http_a"), HttpRoute("web-ns.test", "http_a"))
    assert table.tcp == ()


def test_instance_of_another_revision_is_reached_on_its_own_http_port_and_serves_no_endpoint_it_lacks() -> None:
    old = ReadyInstance("i0", 0, "10.0.0.2", ((80, HTTP),))
    new = ReadyInstance("i1", 1, "10.0.0.3", ((8080, HTTP), (22, TCP)))

    table = route_table([service(endpoints=(WEB, SSH), ready=(old, new))])

    ports = {backend.key: {server.name: server.port for server in backend.servers} for backend in table.backends}
    assert ports == {"http_a": {"i0": 80, "i1": 8080}, "tcp_a_22": {"i1": 22}}


def test_tcp_endpoint_is_routed_by_its_service_port() -> None:
    table = route_table([service(endpoints=(SSH,), ready=ready("i0"), proxy_protocol=True)])

    servers = (Server("i0", "172.17.0.2", 22),)
    assert table.backends == (Backend("tcp_a_22", "tcp", servers, "ns/web", "a", proxy_protocol=True),)
    assert table.tcp == (TcpRoute(20001, "tcp_a_22"),)
    assert table.http == ()


def test_proxy_protocol_is_for_tcp_alone() -> None:
    table = route_table([service(endpoints=(WEB, SSH), proxy_protocol=True)])

    assert {b.mode: b.proxy_protocol for b in table.backends} == {"http": False, "tcp": True}


def test_service_without_ready_instances_keeps_its_routes() -> None:
    table = route_table([service(endpoints=(WEB, SSH))])

    assert [b.servers for b in table.backends] == [(), ()]
    assert table.http == (HttpRoute("web-ns.test", "http_a"),)
    assert table.tcp == (TcpRoute(20001, "tcp_a_22"),)


def test_custom_domain_without_http_endpoint_leads_nowhere() -> None:
    assert route_table([service(endpoints=(SSH,), custom_domain="shop.example")]).http == ()


def test_internal_endpoint_is_not_routed_here() -> None:
    internal = Endpoint(5432, "tcp", INTERNAL, "web-ns.internal.test", 20002)

    assert route_table([service(endpoints=(internal,))]) == RouteTable()


def test_instance_without_an_address_gets_no_traffic() -> None:
    instances = (ReadyInstance("i0", 0, ""), ReadyInstance("i1", 1, "no address"), ReadyInstance("i2", 2, "10.0.0.9"))

    (backend,) = route_table([service(ready=instances)]).backends

    assert backend.servers == (Server("i2", "10.0.0.9", 8080),)


def test_host_claimed_twice_goes_to_the_older_service() -> None:
    young, old = service("a", custom_domain="shop.example"), service("b", age=1, custom_domain="shop.example")

    table = route_table([young, old])

    assert table.http == (HttpRoute("shop.example", "http_b"), HttpRoute("web-ns.test", "http_b"))
    assert table.clashes == (Clash("host shop.example", "a", "b"), Clash("host web-ns.test", "a", "b"))


def test_default_domain_goes_before_an_older_custom_one() -> None:
    squatter = service("a", age=9, endpoints=(Endpoint(80, "tcp", HTTP, "x.test", 80),), custom_domain="web-ns.test")

    table = route_table([squatter, service("b")])

    assert HttpRoute("web-ns.test", "http_b") in table.http
    assert table.clashes == (Clash("host web-ns.test", "a", "b"),)


def test_custom_domain_equal_to_the_own_default_is_no_clash() -> None:
    table = route_table([service(custom_domain="web-ns.test")])

    assert (table.http, table.clashes) == ((HttpRoute("web-ns.test", "http_a"),), ())


def test_port_claimed_twice_goes_to_the_older_service() -> None:
    table = route_table([service("a", endpoints=(SSH,)), service("b", age=1, endpoints=(SSH,))])

    assert table.tcp == (TcpRoute(20001, "tcp_b_22"),)
    assert [b.key for b in table.backends] == ["tcp_b_22"]
    assert table.clashes == (Clash("port 20001", "a", "b"),)


def test_order_of_services_and_instances_makes_no_difference() -> None:
    services = [
        service(f"s{n}", age=n % 3, endpoints=(WEB, SSH), custom_domain=f"d{n % 4}.example", ready=ready("i0", "i1"))
        for n in range(12)
    ]
    expected = route_table(services)

    for seed in range(5):
        random.Random(seed).shuffle(services)
        assert route_table(services) == expected


def test_route_table_without_a_backend_has_no_route_to_it() -> None:
    table = route_table([service("a", endpoints=(WEB, SSH)), service("b", endpoints=())])

    assert without(table, backends=["http_a"]).http == ()
    assert without(table, backends=["tcp_a_22"]).tcp == ()
    assert without(table, ports=[20001]).tcp == ()
    assert [b.key for b in without(table, backends=["http_a"]).backends] == ["tcp_a_22"]


def test_host_name_is_compared_as_requests_name_it() -> None:
    assert [host_name(t) for t in ("A.Example", "a.example:8080", "a.example.", " a.example ")] == ["a.example"] * 4


def test_linked_service_listens_on_its_virtual_address_for_those_that_link_to_it() -> None:
    inner = Endpoint(5432, "tcp", INTERNAL, "web-ns.internal.test", 25432)
    linked = service(
        endpoints=(WEB, SSH, inner),
        ready=ready("i0"),
        proxy_protocol=True,
        link_address="10.224.0.9",
        link_ports=((22, 22), (5432, 5432), (8080, 8080), (25432, 5432)),
        link_sources=("10.208.0.7",),
    )

    table = route_table([linked])

    private = {"sources": ("10.208.0.7",), "address": "10.224.0.9"}
    assert table.tcp == (
        TcpRoute(20001, "tcp_a_22"),
        TcpRoute(22, "tcp_a_22", **private),
        TcpRoute(5432, "tcp_a_5432", **private),
        TcpRoute(8080, "tcp_a_8080", **private),
        TcpRoute(25432, "tcp_a_5432", **private),
    )
    told = {backend.key: backend.proxy_protocol for backend in table.backends}
    assert told == {"http_a": False, "tcp_a_22": True, "tcp_a_5432": True, "tcp_a_8080": False}
    assert without_links(table).tcp == (TcpRoute(20001, "tcp_a_22"),)
    assert TcpRoute(20001, "tcp_a_22") in without(table, listeners=[("10.224.0.9", 22)]).tcp


def test_service_that_nobody_may_link_to_yet_lets_nobody_in() -> None:
    table = route_table([service(link_address="10.224.0.9", link_ports=((80, 8080),))])

    assert table.tcp == (TcpRoute(80, "tcp_a_8080", (), "10.224.0.9"),)
