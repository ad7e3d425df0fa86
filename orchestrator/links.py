"""What a service is told of the services it links to: the documented environment variables. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.endpoints import Endpoint


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
