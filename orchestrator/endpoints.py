"""What an endpoint type means: its default, its ports and its domain names. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

HTTP = "http-endpoint"
TCP = "tcp-endpoint"
DIRECT = "direct-endpoint"
INTERNAL = "internal-endpoint"
ENDPOINT_TYPES = (TCP, HTTP, DIRECT, INTERNAL)

HTTP_SERVICE_PORT = 80
SERVICE_PORTS = range(10000, 65536)  # where tcp- and internal-endpoints get theirs


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
