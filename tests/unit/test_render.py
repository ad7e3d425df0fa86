"""The rendered configuration beside golden files, and the runtime commands beside what the proxy has.

`SKYLARK_WRITE_GOLDEN=1` writes the files anew; their difference is then read like code.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.ingress import live
from orchestrator.ingress.check import sift
from orchestrator.ingress.live import LiveServer
from orchestrator.ingress.render import (
    CONFIG,
    HOSTS,
    ProxySettings,
    render,
    tcp_frontend_name,
    tcp_listener,
    without_frontends,
)
from orchestrator.ingress.routes import Backend, HttpRoute, RouteTable, Server, TcpRoute, without
from orchestrator.ingress.runtime import ProxyError

GOLDEN = Path(__file__).parent.parent / "golden"
SETTINGS = ProxySettings(http_port=8080)
WEB = Backend("http_w", "http", (Server("w0", "172.17.0.2", 80), Server("w1", "172.17.0.3", 80)), "ns/web", "w")
SSH = Backend("tcp_s_22", "tcp", (Server("s0", "172.17.0.4", 22),), "ns/ssh", "s")
TOLD = Backend("tcp_t_25", "tcp", (Server("t0", "172.17.0.5", 25),), "ns/told", "t", proxy_protocol=True)
TABLE = RouteTable(
    (WEB, SSH, TOLD),
    (HttpRoute("shop.example", "http_w"), HttpRoute("web-ns.test", "http_w")),
    (TcpRoute(20001, "tcp_s_22"), TcpRoute(20002, "tcp_t_25", ("10.1.0.0/16", "10.0.0.7"))),
)
EMPTY = RouteTable()
LINKED = RouteTable(
    (SSH,),
    (),
    (
        TcpRoute(20001, "tcp_s_22"),
        TcpRoute(22, "tcp_s_22", ("10.208.0.7", "10.208.0.9"), "10.224.3.4"),
        TcpRoute(20002, "tcp_s_22", ("10.208.0.7", "10.208.0.9"), "10.224.3.4"),
        TcpRoute(22, "tcp_s_22", (), "10.224.3.5"),
    ),
)

SLEEPY = RouteTable(
    (replace(WEB, servers=(), may_sleep=True), replace(WEB, key="http_v", service_uuid="v")),
    (HttpRoute("awake.example", "http_v"), HttpRoute("web-ns.test", "http_w")),
)

CASES = {
    "empty": (EMPTY, SETTINGS),
    "services": (TABLE, SETTINGS),
    "links": (LINKED, SETTINGS),
    "sleepers": (SLEEPY, SETTINGS),
    "operator": (
        EMPTY,
        ProxySettings(
            http_port=80,
            address="192.0.2.1",
            maxconn=500,
            trusted_proxies=("10.0.0.0/8", "192.0.2.9"),
            metrics_port=9101,
            runs_as=("haproxy", "haproxy"),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rendered_files_are_the_golden_ones(name: str) -> None:
    files = render(*CASES[name], folder="/home/haproxy").files
    folder = GOLDEN / "haproxy" / name
    if os.environ.get("SKYLARK_WRITE_GOLDEN"):
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text)

    assert files == {path.name: path.read_text() for path in folder.iterdir()}


def test_skeleton_tells_what_needs_a_reload() -> None:
    first = render(TABLE, SETTINGS, "/f").skeleton
    fewer = replace(WEB, servers=WEB.servers[:1])
    moved = replace(TABLE, http=(HttpRoute("other.example", "http_w"),))
    route = replace(TABLE.tcp[1], sources=("10.9.9.9",))

    assert render(replace(TABLE, backends=(fewer, SSH, TOLD)), SETTINGS, "/f").skeleton == first
    assert render(moved, SETTINGS, "/f").skeleton == first
    assert render(replace(TABLE, tcp=(TABLE.tcp[0], route)), SETTINGS, "/f").skeleton == first
    assert render(without(TABLE, ports=[20001]), SETTINGS, "/f").skeleton != first
    assert render(without(TABLE, backends=["http_w"]), SETTINGS, "/f").skeleton != first
    assert render(TABLE, replace(SETTINGS, maxconn=7), "/f").skeleton != first
    assert f"    description {first}\n" in render(TABLE, SETTINGS, "/f").files[CONFIG]


def test_who_may_sleep_is_no_reload_unless_it_is_the_first_or_the_last() -> None:
    first = render(SLEEPY, SETTINGS, "/f").skeleton
    nobody = tuple(replace(backend, may_sleep=False) for backend in SLEEPY.backends)
    everybody = tuple(replace(backend, may_sleep=True) for backend in SLEEPY.backends)

    assert render(replace(SLEEPY, backends=everybody), SETTINGS, "/f").skeleton == first
    assert render(replace(SLEEPY, backends=nobody), SETTINGS, "/f").skeleton != first
    assert render(SLEEPY, replace(SETTINGS, most_held=7), "/f").skeleton != first


def test_frontends_of_lost_ports_are_cut_out_of_the_text() -> None:
    whole = render(TABLE, SETTINGS, "/f").files[CONFIG]
    cut = without_frontends(whole, [("", 20001)])

    assert "20001" in whole
    assert "20001" not in cut
    assert "frontend tcp_20002 from tcp" in cut
    assert "backend tcp_s_22 from tcp" in cut
    assert "    description incomplete\n" in cut


def test_who_links_is_no_reload_but_another_virtual_address_is() -> None:
    first = render(LINKED, SETTINGS, "/f").skeleton
    more = [replace(route, sources=("10.208.0.8",)) if route.address else route for route in LINKED.tcp]
    moved = [replace(route, address="10.224.9.9") if route.address else route for route in LINKED.tcp]

    assert render(replace(LINKED, tcp=tuple(more)), SETTINGS, "/f").skeleton == first
    assert render(replace(LINKED, tcp=tuple(moved)), SETTINGS, "/f").skeleton != first


@pytest.mark.parametrize("listener", [("", 20001), ("10.224.3.4", 22)])
def test_name_of_a_frontend_tells_what_it_listens_on(listener: tuple[str, int]) -> None:
    assert tcp_listener(tcp_frontend_name(listener)) == listener
    assert tcp_listener("web") is None


def as_live(table: RouteTable, **admin: int) -> list[LiveServer]:
    """The proxy as it is once the table is in effect; `admin` by server."""
    return [
        LiveServer(b.key, s.name, s.address, s.port, admin.get(s.name, 0)) for b in table.backends for s in b.servers
    ]


def test_proxy_that_has_the_table_is_told_nothing() -> None:
    maps = {HOSTS: {r.host: r.backend for r in TABLE.http}}

    assert live.server_commands(TABLE, as_live(TABLE)) == []
    assert live.map_commands(TABLE, maps, "/f") == []
    assert live.list_commands(TABLE, {"sources-20002.acl": {"10.1.0.0/16", "10.0.0.7"}}, "/f") == []
    assert live.leaving_servers(TABLE, as_live(TABLE)) == ()


def test_new_server_is_added_checked_and_enabled() -> None:
    there = [s for s in as_live(TABLE) if s.name not in ("w1", "t0")]

    (web, told) = live.server_commands(TABLE, there)

    key, commands = web
    assert key == "http_w"
    assert commands[0].startswith("add server http_w/w1 172.17.0.3:80 check inter 24h ")
    assert commands[1:] == ("enable health http_w/w1", "enable server http_w/w1")
    assert told[1][0].endswith(" send-proxy check-send-proxy")


def test_server_that_left_is_drained_once() -> None:
    table = replace(TABLE, backends=(replace(WEB, servers=WEB.servers[:1]), SSH, TOLD))

    assert live.server_commands(table, as_live(TABLE)) == [("http_w", ("set server http_w/w1 state drain",))]
    assert live.server_commands(table, as_live(TABLE, w1=8)) == []
    assert live.leaving_servers(table, as_live(TABLE, w1=8)) == (("http_w", "w1"),)


@pytest.mark.parametrize("admin", [1, 8, 9])
def test_server_that_is_wanted_again_is_made_ready(admin: int) -> None:
    assert live.server_commands(TABLE, as_live(TABLE, w1=admin)) == [("http_w", ("set server http_w/w1 state ready",))]


def test_server_with_a_new_address_moves() -> None:
    there = [replace(s, address="172.17.0.99") if s.name == "s0" else s for s in as_live(TABLE)]

    assert live.server_commands(TABLE, there) == [
        ("tcp_s_22", ("set server tcp_s_22/s0 addr 172.17.0.4 port 22",)),
    ]


def test_hosts_are_added_moved_and_deleted() -> None:
    there = {HOSTS: {"shop.example": "http_x", "old.example": "http_w"}}

    assert live.map_commands(TABLE, there, "/f") == [
        "set map /f/hosts.map shop.example http_w",
        "add map /f/hosts.map web-ns.test http_w",
        "del map /f/hosts.map old.example",
    ]


def test_sources_are_let_in_before_others_are_shut_out() -> None:
    there = {"sources-20002.acl": {"10.1.0.0/16", "10.0.0.6"}}

    assert live.list_commands(TABLE, there, "/f") == [
        "add acl /f/sources-20002.acl 10.0.0.7",
        "del acl /f/sources-20002.acl 10.0.0.6",
    ]


def test_master_tells_its_workers_and_failed_reloads() -> None:
    text = (
        "#<PID>          <type>          <reloads>       <uptime>        <version>\n"
        "10              master          3 [failed: 1]   0d00h01m00s     2.6\n"
        "# workers\n30              worker          0               0d00h00m10s     2.6\n"
        "# old workers\n20              worker          1               0d00h00m50s     2.6\n"
        "21              worker          2               0d00h00m59s     2.6\n# programs\n\n"
    )

    assert live.read_workers(text) == live.Workers(30, (20, 21), 1)


def backends(*keys: str) -> RouteTable:
    return RouteTable(tuple(Backend(key, "http", (Server("s", "10.0.0.1", 80),)) for key in keys))


@pytest.mark.parametrize("culprits", [set(), {"b3"}, {"b0", "b7"}, {f"b{n}" for n in range(8)}])
def test_sifting_takes_the_servers_of_those_refused_and_keeps_the_rest(culprits: set[str]) -> None:
    table = backends(*(f"b{n}" for n in range(8)))
    checks: list[RouteTable] = []

    def check(candidate: RouteTable) -> str:
        checks.append(candidate)
        bad = [b.key for b in candidate.backends if b.servers and b.key in culprits]
        return f"bad server in {bad[0]}" if bad else ""

    accepted, refused = sift(table, check)

    assert set(refused) == culprits
    assert {b.key for b in accepted.backends if not b.servers} == culprits
    assert len(accepted.backends) == 8
    assert len(checks) == 1 if not culprits else len(checks) < 30


def test_part_that_is_bad_even_without_servers_is_left_out_with_its_routes() -> None:
    table = replace(backends("good", "odd"), http=(HttpRoute("a", "good"), HttpRoute("b", "odd")))

    accepted, refused = sift(table, lambda t: "odd is odd" if any(b.key == "odd" for b in t.backends) else "")

    assert refused == {"odd": "odd is odd"}
    assert [b.key for b in accepted.backends] == ["good"]
    assert accepted.http == (HttpRoute("a", "good"),)


def test_frame_that_is_refused_is_nobodys_fault_but_ours() -> None:
    with pytest.raises(ProxyError, match="its own frame: unknown keyword"):
        sift(backends("a"), lambda table: "unknown keyword")
