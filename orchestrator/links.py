"""What a service is told of the services it links to: names and variables; and where those are listened for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.endpoints import DIRECT, HTTP, INTERNAL, Endpoint, Port, default_domain_name, internal_domain_name


def link_variables(links: Mapping[str, str], targets: Mapping[str, Sequence[Endpoint]]) -> dict[str, str]:
    """The variables for `links` (service name -> alias); a target that is not there (yet) tells nothing.

    The rule is the published client's own (API-CONTRACT section 4). Worked example: alias `db`, one tcp-endpoint
    on port 5432 reached at store-ns.example:20001:

        DB_PORT               tcp://store-ns.example:20001   (that of the first port)
        DB_PORT_5432_TCP      tcp://store-ns.example:20001
        DB_PORT_5432_TCP_ADDR  store-ns.example, ..._PORT  20001, ..._PROTO  tcp
    """
    variables: dict[str, str] = {}
    for name, alias in links.items():
        for port in targets.get(name, ()):
            url = f"{port.protocol}://{port.domain}:{port.service_port}"
            variables.setdefault(f"{alias}_PORT".upper(), url)
            prefix = f"{alias}_PORT_{port.container_port}_{port.protocol}".upper()
            variables[prefix] = url
            variables[f"{prefix}_ADDR"] = port.domain
            variables[f"{prefix}_PORT"] = str(port.service_port)
            variables[f"{prefix}_PROTO"] = port.protocol
    return variables


def link_hosts(
    links: Mapping[str, str], addresses: Mapping[str, str], namespace: str, base_domain: str
) -> dict[str, str]:
    """Host name -> virtual address for each link (service name -> alias); `addresses` by service name.

    `{"db": "store"}` -> store, db, db-ns.internal.<suffix> and db-ns.<suffix>, all with db's address. An alias goes
    before another target's own name: the user chose it.
    """
    hosts: dict[str, str] = {}
    for name, alias in links.items():
        if name in addresses:
            hosts.setdefault(alias, addresses[name])
    for name in links:
        domains = [maker(name, namespace, base_domain) for maker in (internal_domain_name, default_domain_name)]
        for host in (name, *domains):
            if name in addresses:
                hosts.setdefault(host, addresses[name])
    return hosts


def link_ports(ports: Iterable[Port], endpoints: Iterable[Endpoint]) -> tuple[tuple[int, int], ...]:
    """(port on the virtual address, container port): each tcp port as the container has it, and service ports.

    Those of tcp-endpoints are left out: the proxy listens for them on every address of the host already. Direct
    ports alone give a service no virtual listener: they are published, each on its instance's own host port.
    """
    wanted: dict[int, int] = {}
    for port in ports:
        if port.protocol == "tcp" and port.endpoint_type != DIRECT:
            wanted[port.container_port] = port.container_port
    for endpoint in endpoints:
        if endpoint.endpoint_type in (HTTP, INTERNAL) and endpoint.protocol == "tcp":
            wanted.setdefault(endpoint.service_port, endpoint.container_port)
    return tuple(sorted(wanted.items()))
