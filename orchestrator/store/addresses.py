"""Which addresses are given: subnets of namespaces, virtual addresses of linked services, those of instances."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from orchestrator.addresses import choose_instance_address, choose_link_address, choose_subnet
from orchestrator.settings import Settings
from orchestrator.store.schema import InstanceRow, LinkAddressRow, NetworkRow, ServiceRow


@dataclass(frozen=True)
class Given:
    """What was given in a pass and must stand in rows before it is used. `links`: namespace/name -> address."""

    namespace: str
    subnet: str
    links: Mapping[str, str] = field(default_factory=dict)


class AddressBook:
    """Gives addresses during one pass: reads what is given already once, and remembers what it gives itself."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session = session
        self._installation = settings.installation
        self._network_pool = IPv4Network(settings.network_pool)
        self._link_pool = IPv4Network(settings.link_pool)
        self._subnets: dict[str, str | None] | None = None  # subnet -> namespace
        self._links: dict[str, str] | None = None  # service key -> address
        self._taken: set[str] | None = None

    def subnet(self, namespace: str) -> str:
        """The namespace's subnet, given now if it has none. Raises PoolExhausted."""
        if self._subnets is None:
            self._subnets = {row.subnet: row.namespace for row in self._session.scalars(select(NetworkRow))}
        found = next((subnet for subnet, owner in self._subnets.items() if owner == namespace), None)
        if found is None:
            found = choose_subnet(self._network_pool, self._subnets, f"{self._installation}/{namespace}")
            self._subnets[found] = namespace
        return found

    def instance_address(self, subnet: str, instance_uuid: str, before: str = "") -> str:
        """A free address for a new instance: the one it had `before`, if of the subnet. Raises PoolExhausted."""
        if before and IPv4Address(before) in IPv4Network(subnet):
            return before
        if self._taken is None:
            query = select(InstanceRow.address).where(InstanceRow.gone_at.is_(None), InstanceRow.address != "")
            self._taken = set(self._session.scalars(query))
        found = choose_instance_address(subnet, self._taken, instance_uuid)
        self._taken.add(found)
        return found

    def link_addresses(self, keys: Iterable[str]) -> dict[str, str]:
        """The virtual address of each of these services (namespace/name), there or not yet. Raises PoolExhausted."""
        if self._links is None:
            self._links = {row.service_key: row.address for row in self._session.scalars(select(LinkAddressRow))}
        for key in keys:
            if key not in self._links:
                taken = set(self._links.values())
                self._links[key] = choose_link_address(self._link_pool, taken, f"{self._installation}/{key}")
        return {key: self._links[key] for key in keys}


def keep_given(session: Session, given: Given) -> None:
    """Rows of what was given; those that stand already stay."""
    if session.scalar(select(NetworkRow.subnet).where(NetworkRow.namespace == given.namespace)) is None:
        session.add(NetworkRow(subnet=given.subnet, namespace=given.namespace))
    known = set(session.scalars(select(LinkAddressRow.service_key).where(LinkAddressRow.service_key.in_(given.links))))
    for key, address in given.links.items():
        if key not in known:
            session.add(LinkAddressRow(address=address, service_key=key))
    session.flush()


def give_up_subnet(session: Session, subnet: str) -> None:
    """Somebody else has it on the engine: the namespace gets another one, and nobody asks for this one again."""
    row = session.get(NetworkRow, subnet) or NetworkRow(subnet=subnet)
    row.namespace = None
    session.add(row)
    session.flush()


def empty_namespaces(session: Session) -> tuple[str, ...]:
    """Namespaces that have a network and no service any more, not even one on its way out."""
    used = select(ServiceRow.namespace)
    query = select(NetworkRow.namespace).where(NetworkRow.namespace.is_not(None), NetworkRow.namespace.not_in(used))
    return tuple(namespace for namespace in session.scalars(query) if namespace is not None)


def forget_networks(session: Session, namespaces: Collection[str]) -> None:
    """Free the subnets of removed networks, unless a service came into the namespace meanwhile."""
    still = set(empty_namespaces(session)) & set(namespaces)
    session.execute(delete(NetworkRow).where(NetworkRow.namespace.in_(still)))


def forget_unused_links(session: Session) -> None:
    """Free the virtual addresses of services that are gone and that nobody links to."""
    keys = set(session.scalars(select(LinkAddressRow.service_key)))
    if not keys:
        return
    wanted: set[str] = set()
    for service in session.scalars(select(ServiceRow)):
        links = service.spec.get("linked_to_apps") or {}
        wanted |= {f"{service.namespace}/{name}" for name in (service.name, *links)}
    if keys - wanted:
        session.execute(delete(LinkAddressRow).where(LinkAddressRow.service_key.in_(keys - wanted)))


def link_addresses(session: Session) -> Mapping[str, str]:
    """All virtual addresses, by namespace/name."""
    return {row.service_key: row.address for row in session.scalars(select(LinkAddressRow))}
