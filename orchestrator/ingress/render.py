"""A table of routes as HAProxy's files. Pure: equal tables give equal text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from orchestrator.ingress import holding
from orchestrator.ingress.routes import Backend, Listener, RouteTable, Server, TcpRoute

CONFIG = "haproxy.cfg"
HOSTS = "hosts.map"
RUNTIME_SOCKET = "runtime.sock"
MASTER_SOCKET = "master.sock"
METRICS_SOCKET = "metrics.sock"

# Checks run only after trouble: a day between those of a healthy server, half a second between those of a lost one.
# (One more follows each load.) Readiness is not theirs to find: Skylark probes it itself.
# Never `on-marked-down shutdown-sessions`: it cuts requests that were about to be retried elsewhere.
_SERVER = (
    "check inter 24h fastinter 500ms downinter 500ms fall 2 rise 1 observe layer4 error-limit 2 on-error mark-down"
)
_HTTP_SERVER = f"{_SERVER} slowstart 2s"
_PROXY_SERVER = f"{_SERVER} send-proxy check-send-proxy"
_NOT_READY = "is being deployed, or has no ready instance: try again in a moment"


@dataclass(frozen=True)
class ProxySettings:
    """What does not depend on services. Times in seconds, but `connect_milliseconds`.

    `runs_as`: user and group that the worker becomes, None to stay who we are. `trusted_proxies`: networks whose
    X-Forwarded-* headers are believed. `metrics_port`: where on loopback Prometheus finds HAProxy's own metrics.
    `hold_seconds`, `most_held`: how long a request waits for a service that sleeps, and how many wait for one.
    """

    http_port: int
    address: str = "0.0.0.0"
    maxconn: int = 4000
    connect_milliseconds: int = 300
    idle_seconds: int = 60
    tunnel_seconds: int = 3600
    tcp_idle_seconds: int = 24 * 3600
    request_seconds: int = 10
    old_worker_seconds: int = 12 * 3600
    old_workers: int = 50
    trusted_proxies: tuple[str, ...] = ()
    metrics_port: int | None = None
    hold_seconds: float = 30.0
    most_held: int = 100
    runs_as: tuple[str, str] | None = None


@dataclass(frozen=True)
class Rendered:
    """Files by their name in the folder. `skeleton` is the same for tables that differ only in servers and maps:
    between those the running proxy is told over its socket; the worker says its own as `description`."""

    files: Mapping[str, str]
    skeleton: str


def render(table: RouteTable, settings: ProxySettings, folder: str) -> Rendered:
    """The proxy's files for a table, to lie in `folder`."""
    bare = [replace(backend, servers=()) for backend in table.backends]
    holds = any(backend.may_sleep for backend in table.backends)
    head = _global(settings, folder, holds)
    parts = [*_defaults(settings), *_web(settings, folder, holds), *_metrics(settings, folder)]
    parts += [_tcp_frontend(route, settings, folder) for route in table.tcp]
    program = {holding.PROGRAM_FILE: _hold_program(settings, folder)} if holds else {}
    frame = "\n".join([_section("global", "description ", *head), *parts, *map(_backend, bare), *program.values()])
    skeleton = hashlib.sha256(frame.encode()).hexdigest()[:16]
    described = _section("global", f"description {skeleton}", *head)
    text = "\n".join([described, *parts, *map(_backend, table.backends)])
    maps = {name: "".join(f"{key} {value}\n" for key, value in m.items()) for name, m in maps_of(table).items()}
    lists = {name: "".join(f"{entry}\n" for entry in entries) for name, entries in lists_of(table).items()}
    return Rendered({**maps, **lists, **program, CONFIG: text}, skeleton)


def maps_of(table: RouteTable) -> dict[str, dict[str, str]]:
    """Map files by name: host -> backend; where any may sleep, also backend -> service uuid of those."""
    sleepers = {b.key: b.service_uuid for b in table.backends if b.may_sleep}
    hosts = {HOSTS: {route.host: route.backend for route in table.http}}
    return {**hosts, holding.SLEEPERS: sleepers} if sleepers else hosts


def lists_of(table: RouteTable) -> dict[str, tuple[str, ...]]:
    """Access lists by file name: the networks that may connect to a port."""
    return {_sources_file(r.listener): tuple(sorted(r.sources)) for r in table.tcp if r.sources is not None}


def tcp_frontend_name(listener: Listener) -> str:
    """`tcp_20001`, and `link_10.224.3.4_5432` on a virtual address; `tcp_listener` is its inverse."""
    address, port = listener
    return f"link_{address}_{port}" if address else f"tcp_{port}"


def tcp_listener(name: str) -> Listener | None:
    """What a TCP route's frontend listens on, None for other names."""
    found = re.fullmatch(r"(?:tcp|link_([\d.]+))_(\d+)", name)
    return (found[1] or "", int(found[2])) if found else None


def server_options(backend: Backend) -> str:
    """The words after a server's address, in the file and at run time alike (there no default-server counts)."""
    if backend.mode == "http":
        return _HTTP_SERVER
    return _PROXY_SERVER if backend.proxy_protocol else _SERVER


def server_address(server: Server) -> str:
    """`172.17.0.2:80`, and `[fd00::2]:80` for version 6."""
    return f"[{server.address}]:{server.port}" if ":" in server.address else f"{server.address}:{server.port}"


def without_frontends(config: str, listeners: Iterable[Listener]) -> str:
    """A configuration's text less the frontends that listen there; its description says that it is not whole."""
    names = {tcp_frontend_name(listener) for listener in listeners}
    sections = re.split(r"\n(?=\S)", config)
    kept = [s for s in sections if not (s.startswith("frontend ") and s.split()[1] in names)]
    return re.sub(r"(?m)^    description .*$", "    description incomplete", "\n".join(kept))


def _global(settings: ProxySettings, folder: str, holds: bool) -> list[str]:
    user = settings.runs_as
    return [
        f"maxconn {settings.maxconn}",
        f"stats socket {folder}/{RUNTIME_SOCKET} mode 600 level admin expose-fd listeners",
        f"hard-stop-after {settings.old_worker_seconds}s",
        f"mworker-max-reloads {settings.old_workers}",
        *([f"user {user[0]}", f"group {user[1]}"] if user else []),
        *([f"lua-load {folder}/{holding.PROGRAM_FILE}"] if holds else []),
    ]


def _hold_program(settings: ProxySettings, folder: str) -> str:
    """All held together take a quarter of the connections: the others stay for those who are served."""
    return holding.program(folder, settings.hold_seconds, settings.most_held, settings.maxconn // 4)


def _defaults(settings: ProxySettings) -> list[str]:
    times = (
        f"timeout connect {settings.connect_milliseconds}ms",
        f"timeout client {settings.idle_seconds}s",
        f"timeout server {settings.idle_seconds}s",
        "timeout queue 5s",
        "timeout check 2s",
        # A peer that vanished without a word is noticed after a minute; its sessions end then.
        "option clitcpka",
        "option srvtcpka",
        "srvtcpka-idle 30s",
        "srvtcpka-intvl 10s",
        "srvtcpka-cnt 3",
    )
    http = _section(
        "defaults http",
        "mode http",
        *times,
        f"timeout tunnel {settings.tunnel_seconds}s",
        f"timeout http-request {settings.request_seconds}s",
        f"timeout http-keep-alive {settings.idle_seconds}s",
        "retries 3",
        "option redispatch 1",
        # What takes long is not asked again: a slow answer would be asked for three times, a long poll doubled.
        "retry-on conn-failure empty-response 0rtt-rejected",
        # An old worker answers what comes on its open connections, and closes each with an answer.
        "option idle-close-on-response",
        *_error(502, "the instance of %[var(txn.host)] that was asked broke off its answer"),
        *_error(503, f"%[var(txn.host)] {_NOT_READY}", "Retry-After 1"),
        *_error(504, "the instance of %[var(txn.host)] that was asked did not answer in time"),
    )  # fmt: skip
    tcp = _section(
        "defaults tcp",
        "mode tcp",
        *times,
        f"timeout tunnel {settings.tcp_idle_seconds}s",
        "retries 3",
        "option redispatch 1",
    )
    return [http, tcp]


def _error(status: int, text: str, *headers: str) -> list[str]:
    head = "".join(f" hdr {header}" for header in headers)
    return [f'http-error status {status} content-type "text/plain; charset=utf-8" lf-string "{text}\\n"{head}']


def _web(settings: ProxySettings, folder: str, holds: bool) -> list[str]:
    trusted = f" unless {{ src {' '.join(settings.trusted_proxies)} }}" if settings.trusted_proxies else ""
    handover = holding.handover_address(folder)
    frontend = _section(
        f"frontend web from {'holding' if holds else 'http'}",
        f"bind {settings.address}:{settings.http_port}",
        *([f"bind {handover} accept-proxy name {holding.HANDOVER}"] if holds else []),
        "log stdout format raw local0",
        'log-format "%[date(0,ms)] %ci:%cp %b %s %ST %B %TR/%Tw/%Tc/%Tr/%Ta %tsc %rc %{+Q}[var(txn.host)] %{+Q}r"',
        "http-request set-var(txn.host) req.hdr(host),field(1,:),rtrim(.),lower",
        f"http-request set-var(txn.backend) var(txn.host),map_str({folder}/{HOSTS})",
        'http-request return status 404 content-type "text/plain; charset=utf-8" '
        'lf-string "no service answers to the host name %[var(txn.host)]\\n" unless { var(txn.backend) -m found }',
        f"http-request del-header X-Forwarded-For{trusted}",
        f"http-request set-header X-Forwarded-Proto http{trusted}",
        f"http-request set-header X-Forwarded-Host %[req.hdr(host)]{trusted}",
        "option forwardfor",
        # A retry of what is not safe to repeat would do it twice; failing to connect is always safe to repeat.
        "http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }",
        *(_hold_rules(folder) if holds else []),
        "use_backend %[var(txn.backend)]",
    )
    if not holds:
        return [frontend]
    backend = _section(
        f"backend {holding.HANDOVER} from http",
        # The client's address is said by the PROXY line, and must not stand in the next one's header twice.
        f"option forwardfor header {holding.HELD_HEADER}-For",
        "http-reuse never",
        f"server new {handover} send-proxy-v2",
    )
    # A client that goes away while it is held frees its place; in a backend this would cut half-closed requests short.
    return [_section("defaults holding from http", "option abortonclose"), frontend, backend]


def _hold_rules(folder: str) -> list[str]:
    """Whoever has a server pays for one look at a counter."""
    return [
        f"http-request del-header {holding.HELD_HEADER}-For",
        f"http-request del-header {holding.HELD_HEADER} unless {{ so_name {holding.HANDOVER} }}",
        f"http-request lua.hold if {{ var(txn.backend),nbsrv eq 0 }} "
        f"{{ var(txn.backend),map_str({folder}/{holding.SLEEPERS}) -m found }}",
    ]


def _metrics(settings: ProxySettings, folder: str) -> list[str]:
    binds = [f"bind unix@{folder}/{METRICS_SOCKET} mode 660"]
    if settings.metrics_port is not None:
        binds.append(f"bind 127.0.0.1:{settings.metrics_port}")
    return [_section("frontend metrics from http", *binds, "http-request use-service prometheus-exporter")]


def _tcp_frontend(route: TcpRoute, settings: ProxySettings, folder: str) -> str:
    only = f"tcp-request connection reject unless {{ src -f {folder}/{_sources_file(route.listener)} }}"
    return _section(
        f"frontend {tcp_frontend_name(route.listener)} from tcp",
        f"bind {route.address or settings.address}:{route.port}",
        "log stdout format raw local0",
        'log-format "%[date(0,ms)] %ci:%cp %b %s - %B -/%Tw/%Tc/-/%Tt %ts-- %rc :%fp -"',
        *([only] if route.sources is not None else []),
        f"default_backend {route.backend}",
    )


def _backend(backend: Backend) -> str:
    options = server_options(backend)
    return _section(
        f"backend {backend.key} from {backend.mode}",
        f"balance {'roundrobin' if backend.mode == 'http' else 'leastconn'}",
        f"default-server {options}",
        *(f"server {server.name} {server_address(server)}" for server in backend.servers),
    )


def _sources_file(listener: Listener) -> str:
    """One for all ports of a virtual address."""
    return f"sources-{listener[0] or listener[1]}.acl"


def _section(head: str, *lines: str) -> str:
    return "\n".join([head, *(f"    {line}" for line in lines), ""])
