"""What of a table of routes could not be had, in words for each service. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from orchestrator.ingress.routes import RouteTable, TcpRoute


def shortfalls(
    table: RouteTable, refused: Mapping[str, str], ports_in_use: Collection[int], names: Mapping[str, str]
) -> dict[str, str]:
    """Service uuid -> why some of its routes are not made. `refused`: backend key -> reason; `names`: of services.

    Example: {"5e5e...": "no route for host a-b-c.test: it belongs to service b-c/a"}.
    """
    owners = {backend.key: backend.service_uuid for backend in table.backends}
    found: dict[str, list[str]] = defaultdict(list)
    for clash in table.clashes:
        holder = names.get(clash.holder_uuid, "another one")
        found[clash.service_uuid].append(f"no route for {clash.claim}: it belongs to service {holder}")
    for key, reason in sorted(refused.items()):
        if key in owners:
            found[owners[key]].append(f"no route: the proxy refuses it: {reason}")
    for route in _on_the_host(table):
        if route.port in ports_in_use and route.backend in owners:
            found[owners[route.backend]].append(f"no route: port {route.port} is in use on the host by something else")
    return {uuid: "; ".join(dict.fromkeys(words)) for uuid, words in found.items()}


def open_ports(table: RouteTable, refused: Collection[str], ports_in_use: Collection[int]) -> set[tuple[str, int]]:
    """(service uuid, service port) of the tcp routes that are in effect."""
    owners = {backend.key: backend.service_uuid for backend in table.backends if backend.key not in refused}
    made = (route for route in _on_the_host(table) if route.port not in ports_in_use and route.backend in owners)
    return {(owners[route.backend], route.port) for route in made}


def _on_the_host(table: RouteTable) -> list[TcpRoute]:
    """The routes of service ports, without those on virtual addresses of linked services."""
    return [route for route in table.tcp if not route.address]
