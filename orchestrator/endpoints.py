"""What an endpoint type means: its default, its ports and its domain names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

HTTP = "http-endpoint"
TCP = "tcp-endpoint"
DIRECT = "direct-endpoint"
INTERNAL = "internal-endpoint"
ENDPOINT_TYPES = (TCP, HTTP, DIRECT, INTERNAL)

HTTP_SERVICE_PORT = 80
# where tcp- and internal-endpoints get theirs: above it the kernel takes ports for outgoing connections
SERVICE_PORTS = range(10000, 32768)


@dataclass(frozen=True)
class Endpoint:
    """A port of a service as others reach it, balanced over its instances."""

    container_port: int
    protocol: str
    endpoint_type: str
    domain: str
    service_port: int


class Port(Protocol):
    """What this module needs of a port of a spec."""

    @property
    def container_port(self) -> int: ...
    @property
    def protocol(self) -> str: ...
    @property
    def endpoint_type(self) -> str: ...


def default_endpoint_type(container_port: int, protocol: str) -> str:
    """The type of a port that names none: 80 is http, other tcp ports are tcp, udp can only be direct."""
    if protocol == "udp":
        return DIRECT
    return HTTP if container_port == 80 else TCP


def needs_service_port(endpoint_type: str) -> bool:
    """Whether the type gets a random service port that stays for the service's life."""
    return endpoint_type in (TCP, INTERNAL)


def recorded_ports(ports: Iterable[Port]) -> tuple[tuple[int, str], ...]:
    """(container_port, endpoint_type) of every port that needs a service port, in the order given."""
    return tuple((p.container_port, p.endpoint_type) for p in ports if needs_service_port(p.endpoint_type))


def published_ports(ports: Iterable[Port]) -> tuple[tuple[int, str], ...]:
    """(container_port, protocol) of every port published on the host, one random host port an instance."""
    return tuple(dict.fromkeys((p.container_port, p.protocol) for p in ports if p.endpoint_type == DIRECT))


def exposed_ports(ports: Iterable[Port]) -> tuple[tuple[int, str], ...]:
    """(container_port, protocol) of every port, each once, in the order given."""
    return tuple(dict.fromkeys((p.container_port, p.protocol) for p in ports))


def default_domain_name(service_name: str, namespace: str, base_domain: str) -> str:
    """`test`, `madams`, `skylark.local` -> `test-madams.skylark.local`."""
    return f"{service_name}-{namespace}.{base_domain}"


def internal_domain_name(service_name: str, namespace: str, base_domain: str) -> str:
    """`test`, `madams`, `skylark.local` -> `test-madams.internal.skylark.local`."""
    return f"{service_name}-{namespace}.internal.{base_domain}"


def service_endpoints(
    ports: Iterable[Port], given: Mapping[tuple[int, str], int], name: str, namespace: str, base_domain: str
) -> tuple[Endpoint, ...]:
    """The endpoints of a service in the order given; direct ones belong to each instance instead.

    `given`: (container_port, endpoint_type) -> service port. An endpoint without one yet is left out: a client that
    links to the service would wait for it in vain.
    """
    found = []
    for port in ports:
        kind = port.endpoint_type
        number = HTTP_SERVICE_PORT if kind == HTTP else given.get((port.container_port, kind))
        if kind == DIRECT or number is None:
            continue
        domain_name = internal_domain_name if kind == INTERNAL else default_domain_name
        domain = domain_name(name, namespace, base_domain)
        found.append(Endpoint(port.container_port, port.protocol, kind, domain, number))
    return tuple(found)
