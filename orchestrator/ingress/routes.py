"""Which host and which port leads to which instances: from services to a table of routes. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from orchestrator.endpoints import HTTP, TCP, Endpoint

Mode = Literal["http", "tcp"]
Listener = tuple[str, int]  # (virtual address or "", port)


@dataclass(frozen=True)
class ReadyInstance:
    """An instance that may get traffic: `address` is its container's IP address.

    `ports`: (container_port, endpoint_type) as its own revision has them; None: as the service has them now.
    """

    uuid: str
    slot: int
    address: str
    ports: tuple[tuple[int, str], ...] | None = None

    def listens_on(self, container_port: int, mode: Mode) -> int | None:
        """Which of its ports stands for the service's; None when its revision has none like that.

        Worked example: the http-endpoint moves from 80 to 8080. An old instance answers 80 for 8080, a new one 8080.
        """
        if self.ports is None or container_port in {port for port, _ in self.ports}:
            return container_port
        return next((port for port, kind in self.ports if mode == "http" and kind == HTTP), None)


@dataclass(frozen=True)
class RoutedService:
    """What routing needs to know of a service; it keeps its routes while nothing of it is ready."""

    uuid: str
    name: str
    namespace: str
    created_at: datetime
    endpoints: tuple[Endpoint, ...]
    custom_domain: str = ""
    ready: tuple[ReadyInstance, ...] = ()
    proxy_protocol: bool = False  # its tcp-endpoints begin each connection with a PROXY line
    link_address: str = ""  # its virtual address, for those that link to it
    link_ports: tuple[tuple[int, int], ...] = ()  # (port there, container port)
    link_sources: tuple[str, ...] = ()  # addresses of the instances that link to it
    may_sleep: bool = False  # scaled to zero, and woken by a request, which waits for it


@dataclass(frozen=True)
class Server:
    """One instance behind a backend; `name` is the instance's uuid."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Backend:
    """A balanced set of servers. `service` is for people: namespace/name."""

    key: str
    mode: Mode
    servers: tuple[Server, ...] = ()
    service: str = ""
    service_uuid: str = ""
    proxy_protocol: bool = False
    may_sleep: bool = False  # a request is held while it has no server


@dataclass(frozen=True)
class HttpRoute:
    """Requests for `host` (lower case, without port) go to this backend."""

    host: str
    backend: str


@dataclass(frozen=True)
class TcpRoute:
    """Connections to `port` of the host go to this backend; from these networks only, if any are named.

    `address`: only those to this virtual address of a linked service; "": to any address of the host.
    """

    port: int
    backend: str
    sources: tuple[str, ...] | None = None
    address: str = ""

    @property
    def listener(self) -> Listener:
        """What it listens on."""
        return self.address, self.port


@dataclass(frozen=True)
class Clash:
    """A host or port that a service asked for and an earlier one has; the later one goes without."""

    claim: str  # "host example.com", "port 20001"
    service_uuid: str
    holder_uuid: str


@dataclass(frozen=True)
class RouteTable:
    """All routes, sorted: equal situations give equal tables."""

    backends: tuple[Backend, ...] = ()
    http: tuple[HttpRoute, ...] = ()
    tcp: tuple[TcpRoute, ...] = ()
    clashes: tuple[Clash, ...] = field(default=(), compare=False)  # said in the status, of no concern to the proxy


def route_table(services: Iterable[RoutedService]) -> RouteTable:
    """The routes of all services, in whatever order they come.

    A default domain goes before a custom one, so that nobody takes a neighbour's address by naming it; of two equal
    claims the older service's holds. Worked example: `a-b` of `c` and `a` of `b-c` are both a-b-c.<base>: the older
    one gets it, the other is told by a Clash. Those that link to a service reach it on its virtual address.
    """
    ordered = sorted(services, key=lambda s: (s.created_at, s.uuid))
    hosts: dict[str, tuple[str, str]] = {}
    ports: dict[int, tuple[str, str]] = {}
    clashes: list[Clash] = []
    backends: dict[str, Backend] = {}

    def claim_host(host: str, service: RoutedService, key: str) -> None:
        holder = hosts.setdefault(host, (service.uuid, key))[0]
        if holder != service.uuid:
            clashes.append(Clash(f"host {host}", service.uuid, holder))

    for service in ordered:
        endpoint = _http_endpoint(service.endpoints)
        if endpoint is not None:
            backend = _backend("http", f"http_{service.uuid}", service, endpoint.container_port)
            backends[backend.key] = backend
            claim_host(host_name(endpoint.domain), service, backend.key)
        for endpoint in service.endpoints:
            if endpoint.endpoint_type != TCP:
                continue
            backend = _backend("tcp", f"tcp_{service.uuid}_{endpoint.container_port}", service, endpoint.container_port)
            holder = ports.setdefault(endpoint.service_port, (service.uuid, backend.key))
            if holder == (service.uuid, backend.key):
                backends[backend.key] = backend
            else:
                clashes.append(Clash(f"port {endpoint.service_port}", service.uuid, holder[0]))
    for service in ordered:
        if service.custom_domain and f"http_{service.uuid}" in backends:
            claim_host(host_name(service.custom_domain), service, f"http_{service.uuid}")
    links = [route for service in ordered for route in _links(service, backends)]
    return RouteTable(
        backends=tuple(backends[key] for key in sorted(backends)),
        http=tuple(HttpRoute(host, hosts[host][1]) for host in sorted(hosts)),
        tcp=(*(TcpRoute(port, ports[port][1]) for port in sorted(ports)), *sorted(links, key=lambda r: r.listener)),
        clashes=tuple(sorted(clashes, key=lambda c: (c.claim, c.service_uuid))),
    )


def host_name(text: str) -> str:
    """A domain as requests are compared with it: lower case, without port and final dot."""
    return text.strip().lower().split(":", 1)[0].rstrip(".")


def _links(service: RoutedService, backends: dict[str, Backend]) -> list[TcpRoute]:
    """The routes on a service's virtual address; their backends are added. Who no one may reach needs no listener."""
    if not service.link_address:
        return []
    plain = {e.container_port for e in service.endpoints if e.endpoint_type == HTTP}
    routes = []
    for port, container_port in service.link_ports:
        key = f"tcp_{service.uuid}_{container_port}"
        if key not in backends:
            made = _backend("tcp", key, service, container_port)
            backends[key] = replace(made, proxy_protocol=made.proxy_protocol and container_port not in plain)
        routes.append(TcpRoute(port, key, service.link_sources, service.link_address))
    return routes


def without_links(table: RouteTable) -> RouteTable:
    """The table less what virtual addresses would be needed for."""
    return replace(table, tcp=tuple(route for route in table.tcp if not route.address))


def without(
    table: RouteTable, *, backends: Iterable[str] = (), ports: Iterable[int] = (), listeners: Iterable[Listener] = ()
) -> RouteTable:
    """The table less these backends with all that leads to them, and less these ports and listeners."""
    gone, closed = set(backends), {("", port) for port in ports} | set(listeners)
    return RouteTable(
        backends=tuple(b for b in table.backends if b.key not in gone),
        http=tuple(r for r in table.http if r.backend not in gone),
        tcp=tuple(r for r in table.tcp if r.backend not in gone and r.listener not in closed),
        clashes=table.clashes,
    )


def _http_endpoint(endpoints: Sequence[Endpoint]) -> Endpoint | None:
    return next((e for e in endpoints if e.endpoint_type == HTTP), None)


def _backend(mode: Mode, key: str, service: RoutedService, container_port: int) -> Backend:
    found = ((i, i.listens_on(container_port, mode)) for i in service.ready)
    servers = [Server(i.uuid, i.address, port) for i, port in found if port and _is_address(i.address)]
    return Backend(
        key=key,
        mode=mode,
        servers=tuple(sorted(servers, key=lambda s: s.name)),
        service=f"{service.namespace}/{service.name}",
        service_uuid=service.uuid,
        proxy_protocol=mode == "tcp" and service.proxy_protocol,
        may_sleep=mode == "http" and service.may_sleep,
    )


def _is_address(text: str) -> bool:
    """An instance without an address (on no network, or just gone from it) gets no traffic."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
