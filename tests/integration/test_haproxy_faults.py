"""The real HAProxy when something breaks: instances, itself, Skylark, a part of its configuration, the disk."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from orchestrator.endpoints import TCP
from orchestrator.ingress.haproxy import HaProxy
from orchestrator.ingress.process import MOST_BYTES, faults
from orchestrator.ingress.routes import Server, route_table
from orchestrator.ingress.runtime import ProxyError
from tests.support.haproxy import Proxy, Site, request, say_line, steady_load
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


def test_kill_of_one_of_three_servers_costs_no_get(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("web").grow(3, mortal=True)]
    proxy.show(site)

    with steady_load(proxy.port, [site.domain]) as load:
        eventually(lambda: load.bodies() == {"web.0", "web.1", "web.2"})
        site.members[1].close()
        before = sum(load.answers.values())
        eventually(lambda: sum(load.answers.values()) > before + 150)

    assert not load.failed
    assert load.slowest < 2


def test_lost_server_is_used_again_when_it_is_back(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("web").grow(1, mortal=True)]
    proxy.show(site)
    assert proxy.get(site.domain).status == 200
    lost = site.members[0]
    lost.close()
    assert [proxy.get(site.domain).status for _ in range(3)] == [503] * 3

    lost.reopen()

    eventually(lambda: proxy.get(site.domain).status == 200, 5)


def test_post_is_never_sent_twice(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("web").grow(3)]
    proxy.show(site)

    answer = proxy.get(site.domain, "/die", method="POST", body=b"once")

    assert answer.status == 502
    assert "broke off" in answer.body
    assert sum(member.posts for member in site.members) == 1


def test_killed_proxy_comes_back_with_the_same_routes(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site("web").grow(1), Site("door", TCP).grow()]
    proxy.show(*sites)
    proxy.show(sites[0].grow(1), sites[1])
    os.killpg(proxy.pid(), signal.SIGKILL)
    eventually(lambda: proxy.get("web-ns.test").status == 0)

    started = proxy.control.ensure_running()

    assert started
    assert {proxy.get("web-ns.test").body for _ in range(6)} == {"web.0", "web.1"}
    assert say_line(sites[1].service_port) == "door.0 hello"
    assert not proxy.control.ensure_running()


@pytest.mark.parametrize("victim", ["master", "worker"])
def test_half_a_proxy_is_replaced_as_a_whole(proxy: Proxy, sites: list[Site], victim: str) -> None:
    sites += [Site("web").grow(1), Site("door", TCP).grow(1)]
    proxy.show(*sites)
    worker = {row.worker for row in proxy.control.stats()}.pop()
    os.kill(proxy.pid() if victim == "master" else worker, signal.SIGKILL)

    applied = eventually(lambda: (applied := proxy.show(*sites)) and applied.how == "start" and applied)

    assert applied.port_conflicts == ()
    assert proxy.get("web-ns.test").body == "web.0"
    assert say_line(sites[1].service_port) == "door.0 hello"
    assert {row.worker for row in proxy.control.stats()} != {worker}


def test_started_proxy_never_routes_to_what_was_there_before(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("web").grow(2)]
    proxy.show(site)
    proxy.control.stop()
    other = site.members.pop(0)  # its address may be another service's by now

    applied = proxy.show(site)
    other.close()

    assert applied.how == "start"
    assert other.uuid not in (proxy.folder / "haproxy.cfg").read_text()
    assert proxy.get(site.domain).body == "web.1"


def test_restarted_skylark_keeps_the_proxy_it_finds(proxy: Proxy, sites: list[Site]) -> None:
    (site,) = sites[:] = [Site("web").grow(2)]
    proxy.show(site)
    pid = proxy.pid()
    gone = site.members.pop(0)

    applied = proxy.another().apply(route_table([site.service()]))
    gone.close()

    assert applied.how == "runtime"
    assert proxy.pid() == pid
    assert {proxy.get(site.domain).body for _ in range(4)} == {"web.1"}


def test_part_that_haproxy_refuses_leaves_the_others_their_routes(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site(name).grow(1) for name in ("one", "two", "odd", "four")]
    table = route_table([site.service() for site in sites])
    odd = sites[2].backend
    broken = tuple(replace(b, servers=(Server("x", "no address", 80),)) if b.key == odd else b for b in table.backends)

    applied = proxy.control.apply(replace(table, backends=broken))

    assert list(applied.refused) == [odd]
    assert "no" in applied.refused[odd]
    assert [proxy.get(s.domain).status for s in sites] == [200, 200, 503, 200]
    again = proxy.control.apply(replace(table, backends=broken))
    assert (again.how, list(again.refused)) == ("nothing", [odd])
    assert proxy.control.apply(table).refused == {}
    assert proxy.get("odd-ns.test").status == 200


def test_service_port_in_use_on_the_host_is_told_and_taken_when_free(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site("web").grow(1), Site("door", TCP).grow(1), Site("gate", TCP).grow(1)]
    with socket.socket() as other:
        other.bind(("127.0.0.1", sites[1].service_port))
        other.listen()
        applied = proxy.show(*sites)
        assert applied.port_conflicts == (sites[1].service_port,)
        assert proxy.get("web-ns.test").status == 200
        assert say_line(sites[2].service_port) == "gate.0 hello"
        assert proxy.show(*sites).port_conflicts == (sites[1].service_port,)

    assert proxy.show(*sites).port_conflicts == ()
    assert say_line(sites[1].service_port) == "door.0 hello"


def test_port_lost_while_the_proxy_was_down_does_not_keep_it_down(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site("web").grow(1), Site("door", TCP).grow(1)]
    proxy.show(*sites)
    proxy.control.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", sites[1].service_port))
        other.listen()
        proxy.control.ensure_running()
        assert proxy.get("web-ns.test").status == 200
        assert proxy.show(*sites).port_conflicts == (sites[1].service_port,)

    assert proxy.show(*sites).port_conflicts == ()
    assert say_line(sites[1].service_port) == "door.0 hello"


def test_http_port_in_use_is_said_in_words(proxy: Proxy) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", proxy.port))
        other.listen()
        with pytest.raises(ProxyError, match=rf"something else listens on port {proxy.port}"):
            proxy.show()

    assert proxy.show().how == "start"


def test_log_that_has_grown_is_moved_aside(proxy: Proxy) -> None:
    proxy.show()
    log = proxy.folder / "access.log"
    with log.open("a") as file:
        file.truncate(40 * 1024 * 1024)

    proxy.control.ensure_running()
    request(proxy.port, "after.example")

    assert (proxy.folder / "access.log.1").stat().st_size >= 40 * 1024 * 1024
    assert eventually(log.read_text).startswith(("1", "2"))


def test_faults_are_told_in_haproxys_own_words() -> None:
    text = "[NOTICE] (1) : x\n[ALERT] (1) : config : parsing [a:3] : no such thing\n[ALERT] (1) : Fatal errors found\n"

    assert faults(text) == "config : parsing [a:3] : no such thing"


def test_full_log_costs_its_lines_and_not_the_proxy(proxy: Proxy) -> None:
    proxy.show()
    log = proxy.folder / "access.log"
    worker = next(iter(proxy.control.stats())).worker
    os.truncate(log, MOST_BYTES - 10)  # all of it a hole

    statuses = [proxy.get("nobody.example").status for _ in range(20)]

    assert statuses == [404] * 20
    assert next(iter(proxy.control.stats())).worker == worker
    assert log.stat().st_size <= MOST_BYTES


def test_http_port_of_another_haproxy_is_not_shared(proxy: Proxy, sites: list[Site]) -> None:
    sites += [Site("web").grow(1)]
    proxy.show(*sites)
    second = Proxy()
    second.control = HaProxy(second.folder, proxy.settings)
    try:
        with pytest.raises(ProxyError, match=f"port {proxy.port}"):
            second.show()
    finally:
        second.close()
    assert {proxy.get(sites[0].domain).body for _ in range(20)} == {"web.0"}
