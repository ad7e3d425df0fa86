"""The real HAProxy: where requests go, what reaches whom, and changes while it runs."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from orchestrator.endpoints import TCP
from orchestrator.ingress.routes import route_table
from tests.support.haproxy import Proxy, Site, say_line, steady_load
from tests.support.poll import eventually


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy of the test's own."""
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    """What is put in here ends with the test."""
    sites: list[Site] = []
    yield sites
    for site in sites:
        site.close()


def test_hosts_lead_to_their_services_whatever_their_case_and_port(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site("one").grow(), Site("two", custom_domain="Shop.Example").grow()]

    proxy.show(*sites)

    assert proxy.get("one-ns.test").body == "one.0"
    assert proxy.get("ONE-ns.Test:8080").body == "one.0"
    assert proxy.get("two-ns.test").body == "two.0"
    assert proxy.get("shop.example.").body == "two.0"


def test_unknown_host_is_told_so(proxy: Proxy, sites: list[Site]) -> None:
    proxy.show()

    answer = proxy.get("nobody.example")

    assert (answer.status, answer.body) == (404, "no service answers to the host name nobody.example\n")


def test_nothing_ready_is_said_at_once(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site("idle"), Site("door", TCP)]
    proxy.show(*sites)

    answer = proxy.get("idle-ns.test")

    assert answer.status == 503
    assert answer.body.startswith("idle-ns.test is being deployed, or has no ready instance")
    assert answer.seconds < 0.2
    assert say_line(sites[1].service_port) == ""


def test_custom_domain_moves_between_services_without_a_gap(proxy: Proxy, sites: list[Site]) -> None:
    one, two = Site("one", custom_domain="shop.example").grow(), Site("two").grow()
    sites += [one, two]
    proxy.show(*sites)

    with steady_load(proxy.port, ["shop.example"]) as load:
        eventually(lambda: load.bodies() == {"one.0"})
        one.custom_domain, two.custom_domain = "", "shop.example"
        moved = proxy.show(*sites)
        eventually(lambda: load.bodies() == {"one.0", "two.0"})

    assert moved.how == "runtime"
    assert not load.failed


def test_servers_come_and_go_under_load_without_a_failed_request(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("web").grow(1)]
    proxy.show(site)

    with steady_load(proxy.port, [site.domain]) as load:
        eventually(lambda: load.bodies() == {"web.0"})
        added = proxy.show(site.grow(2))
        eventually(lambda: load.bodies() == {"web.0", "web.1", "web.2"})
        leaving = site.members.pop(0)
        proxy.control.drain((site.backend, leaving.uuid))
        assert proxy.control.wait_drained((site.backend, leaving.uuid), 5)
        leaving.close()
        removed = proxy.show(site)
        before = sum(load.answers.values())
        eventually(lambda: sum(load.answers.values()) > before + 50)

    assert (added.how, removed.how) == ("runtime", "runtime")
    assert not removed.leaving
    assert not load.failed
    assert leaving.uuid not in {row.name for row in proxy.control.stats()}


def test_request_under_way_is_finished_before_a_server_counts_as_drained(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("web").grow(1)]
    proxy.show(site)
    ref = (site.backend, site.members[0].uuid)
    answers: list[int] = []
    slow = threading.Thread(target=lambda: answers.append(proxy.get(site.domain, "/slow").status))
    slow.start()
    eventually(lambda: proxy.control.sessions(ref) == 1)

    proxy.control.drain(ref)

    assert not proxy.control.wait_drained(ref, 0.05)
    assert proxy.get(site.domain).status == 503
    assert proxy.control.wait_drained(ref, 5)
    slow.join()
    assert answers == [200]


def test_server_that_leaves_the_table_goes_when_its_last_request_is_done(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("web").grow(2)]
    proxy.show(site)
    slow = [threading.Thread(target=proxy.get, args=(site.domain, "/slow")) for _ in range(4)]
    for thread in slow:
        thread.start()
    leaving = (site.backend, site.members[0].uuid)
    eventually(lambda: proxy.control.sessions(leaving) == 2)

    kept, site.members = site.members, site.members[1:]
    first = proxy.show(site)
    for thread in slow:
        thread.join()
    later = eventually(lambda: (applied := proxy.show(site)) and not applied.leaving and applied)
    kept[0].close()

    assert first.leaving == (leaving,)
    assert later.leaving == ()
    assert proxy.show(site).how == "nothing"


def test_new_tcp_port_is_a_reload_that_costs_no_request(proxy: Proxy, sites: list[Site]) -> None:
    web, door = Site("web").grow(2), Site("door", TCP).grow()
    sites += [web, door]
    proxy.show(web)

    with steady_load(proxy.port, [web.domain]) as load:
        eventually(lambda: sum(load.answers.values()) > 50)
        applied = proxy.show(web, door)
        greeting = say_line(door.service_port)
        before = sum(load.answers.values())
        eventually(lambda: sum(load.answers.values()) > before + 50)

    assert applied.how == "reload"
    assert greeting == "door.0 hello"
    assert not load.failed


def test_reloads_in_a_row_all_take_effect(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site(f"door{n}", TCP).grow() for n in range(4)]

    ways = [proxy.show(*sites[: n + 1]).how for n in range(4)]

    assert ways == ["start", "reload", "reload", "reload"]
    assert [say_line(site.service_port) for site in sites] == [f"door{n}.0 hello" for n in range(4)]


def test_websocket_stays_open_through_a_reload(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site("web").grow(1), Site("door", TCP).grow(1)]
    proxy.show(sites[0])
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
        connection.sendall(
            b"GET /echo HTTP/1.1\r\nHost: web-ns.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = connection.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        connection.sendall(b"\x81\x02hi")
        assert connection.recv(4096) == b"\x81\x02hi"
        assert proxy.show(*sites).how == "reload"
        connection.sendall(b"\x81\x02ho")
        assert connection.recv(4096) == b"\x81\x02ho"
        ref = (sites[0].backend, sites[0].members[0].uuid)
        assert proxy.control.sessions(ref) == 1, "what is under way in an old worker counts too"


def test_server_learns_who_asked_for_what(proxy: Proxy, sites: list[Site]) -> None:
    sites.append(Site("web").grow(1))
    proxy.show(*sites)

    told = proxy.get("web-ns.test:8080", "/headers", **{"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher"})

    lines = told.body.splitlines()
    assert "x-forwarded-for: 127.0.0.1" in lines
    assert "x-forwarded-proto: http" in lines
    assert "x-forwarded-host: web-ns.test:8080" in lines
    assert "6.6.6.6" not in told.body


def test_trusted_proxy_in_front_is_believed(sites: list[Site]) -> None:
    proxy = Proxy(trusted_proxies=("127.0.0.0/8",))
    try:
        sites.append(Site("web").grow(1))
        proxy.show(*sites)
        told = proxy.get("web-ns.test", "/headers", **{"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"})
    finally:
        proxy.close()

    assert "x-forwarded-for: 6.6.6.6" in told.body
    assert "x-forwarded-proto: https" in told.body


def test_tcp_service_gets_the_client_address_where_it_asks_for_it(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site("plain", TCP).grow(1), Site("told", TCP, proxy_protocol=True).grow(1)]
    proxy.show(*sites)

    assert say_line(sites[0].service_port) == "plain.0 hello"
    assert say_line(sites[1].service_port).startswith("told.0 PROXY TCP4 127.0.0.1 127.0.0.1 ")
    proxy.show(sites[0], sites[1].grow(1))
    assert {say_line(sites[1].service_port)[:12] for _ in range(4)} == {"told.0 PROXY", "told.1 PROXY"}


def test_tcp_connection_outlives_a_reload(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site("door", TCP).grow(1), Site("gate", TCP).grow(1)]
    proxy.show(sites[0])
    with socket.create_connection(("127.0.0.1", sites[0].service_port), timeout=5) as connection:
        file = connection.makefile("rw")
        for _ in range(2):
            print("hello", file=file, flush=True)
            assert file.readline() == "door.0 hello\n"
            proxy.show(*sites)


def test_evicted_server_loses_its_connections(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("door", TCP).grow(1)]
    proxy.show(site)
    ref = (site.backend, site.members[0].uuid)
    with socket.create_connection(("127.0.0.1", site.service_port), timeout=5) as connection:
        file = connection.makefile("rw")
        print("hello", file=file, flush=True)
        assert file.readline() == "door.0 hello\n"
        proxy.control.drain(ref)
        assert not proxy.control.wait_drained(ref, 0.1)
        proxy.control.evict(ref)
        assert file.readline() == ""

    site.members.pop().close()
    eventually(lambda: not proxy.show(site).leaving)
    assert ref[1] not in {row.name for row in proxy.control.stats()}


def test_access_to_a_port_is_by_the_sources_named(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("door", TCP).grow(1)]
    table = route_table([site.service()])
    (route,) = table.tcp

    def allow(*sources: str) -> str:
        return proxy.control.apply(replace(table, tcp=(replace(route, sources=sources),))).how

    assert (allow("10.0.0.0/8"), say_line(site.service_port)) == ("start", "")
    assert (allow("127.0.0.1"), say_line(site.service_port)) == ("runtime", "door.0 hello")
    assert (allow(), say_line(site.service_port)) == ("runtime", "")


def test_large_body_arrives_whole(proxy: Proxy, sites: list[Site]) -> None:
    sites.append(Site("web").grow(1))
    proxy.show(*sites)
    body = os.urandom(1 << 20) * 12

    answer = proxy.get("web-ns.test", method="POST", body=body)

    assert (answer.status, answer.body) == (200, hashlib.sha256(body).hexdigest())


def test_client_may_speak_http_2_without_tls(proxy: Proxy, sites: list[Site]) -> None:
    proxy.show()
    settings_frame = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame)
        kind = connection.recv(9)[3]

    assert kind == 4, "the server's own SETTINGS frame comes first"


def test_requests_are_counted_and_logged(proxy: Proxy, sites: list[Site]) -> None:
    sites.append(Site("web").grow(1))
    proxy.show(*sites)
    for _ in range(3):
        proxy.get("web-ns.test", "/some/path")

    rows = {row.name: row for row in proxy.control.stats() if row.proxy == sites[0].backend}
    logged = [line for line in (proxy.folder / "access.log").read_text().splitlines() if "/some/path" in line]

    assert rows["BACKEND"].responses["2xx"] == 3
    assert rows[sites[0].members[0].uuid].kind == "server"
    assert len(logged) == 3
    assert f"{sites[0].backend} {sites[0].members[0].uuid} 200" in logged[0]
    assert '"web-ns.test" "GET /some/path HTTP/1.1"' in logged[0]


def test_own_metrics_are_served_for_prometheus(proxy: Proxy) -> None:
    proxy.show()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(proxy.folder / "metrics.sock"))
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = connection.makefile().read()

    assert "haproxy_frontend_http_requests_total" in text


def test_counters_are_handed_over_before_a_reload_resets_them(sites: list[Site]) -> None:
    sites += [Site("web").grow(1), Site("other").grow(1)]
    proxy = Proxy()
    kept: list[int] = []
    try:
        proxy.keep_counts(lambda rows: kept.extend(r.responses["2xx"] for r in rows if r.name == "BACKEND"))
        proxy.show(sites[0])
        proxy.get("web-ns.test")
        proxy.show(*sites)
    finally:
        proxy.close()

    assert kept == [1]
