"""Endpoint types: defaults, ports and names."""

from __future__ import annotations

import pytest

from orchestrator import endpoints
from tests.unit.spec_samples import create

PORTS = [
    {"container_port": 80},
    {"container_port": 22},
    {"container_port": 22, "endpoint_type": "direct-endpoint"},
    {"container_port": 53, "protocol": "udp", "endpoint_type": "direct-endpoint"},
    {"container_port": 9000, "endpoint_type": "internal-endpoint"},
]


@pytest.mark.parametrize(
    ("port", "protocol", "kind"),
    [(80, "tcp", "http-endpoint"), (22, "tcp", "tcp-endpoint"), (80, "udp", "direct-endpoint")],
)
def test_absent_type_follows_port_and_protocol(port: int, protocol: str, kind: str) -> None:
    assert endpoints.default_endpoint_type(port, protocol) == kind


def test_tcp_and_internal_endpoints_get_a_service_port() -> None:
    ports = create(instance_ports=PORTS).spec.instance_ports

    assert endpoints.recorded_ports(ports) == ((22, "tcp-endpoint"), (9000, "internal-endpoint"))


def test_direct_endpoints_alone_are_published() -> None:
    ports = create(instance_ports=PORTS).spec.instance_ports

    assert endpoints.published_ports(ports) == ((22, "tcp"), (53, "udp"))


def test_every_port_is_exposed_once() -> None:
    ports = create(instance_ports=PORTS).spec.instance_ports

    assert endpoints.exposed_ports(ports) == ((80, "tcp"), (22, "tcp"), (53, "udp"), (9000, "tcp"))


def test_domain_names_hold_service_and_namespace() -> None:
    assert endpoints.default_domain_name("test", "madams", "skylark.local") == "test-madams.skylark.local"
    assert endpoints.internal_domain_name("test", "madams", "skylark.local") == "test-madams.internal.skylark.local"


def test_service_ports_lie_where_the_contract_says() -> None:
    assert (min(endpoints.SERVICE_PORTS), max(endpoints.SERVICE_PORTS)) == (10000, 32767)
