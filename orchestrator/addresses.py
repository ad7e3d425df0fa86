"""Which subnet a namespace gets, which address an instance, which one a linked service: chosen from pools. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

NAMESPACE_PREFIX = 22  # 1,021 instances; a bridge holds about a thousand ports


class PoolExhausted(Exception):
    """A pool has nothing free; the message names the setting."""


@dataclass(frozen=True)
class Place:
    """Where an instance lives: its namespace's subnet, its own address there, and host name -> address it knows."""

    subnet: str
    address: str = ""
    hosts: Mapping[str, str] = field(default_factory=dict)


def choose_subnet(pool: IPv4Network, taken: Collection[str], seed: str) -> str:
    """A subnet for a namespace. `taken`: subnets given already, and those that others use.

    The search begins at a place that `seed` (installation and namespace) decides, so that two installations on one
    engine seldom ask for the same.
    """
    prefix = max(NAMESPACE_PREFIX, pool.prefixlen)
    count, size = 1 << (prefix - pool.prefixlen), 1 << (32 - prefix)
    others = [IPv4Network(text) for text in taken]
    for number in _round(count, seed):
        subnet = IPv4Network((int(pool.network_address) + number * size, prefix))
        if not any(subnet.overlaps(other) for other in others):
            return str(subnet)
    raise PoolExhausted(f"SKYLARK_NETWORK_POOL {pool}: no subnet left for another namespace")


def choose_instance_address(subnet: str, taken: Collection[str], seed: str) -> str:
    """An address in a namespace's subnet; its first one is the engine's gateway.

    An address that became free is not soon given again, as `seed` (the instance's uuid) is always new.
    """
    network = IPv4Network(subnet)
    found = _free(network, range(2, network.num_addresses - 1), taken, seed)
    if found is None:
        raise PoolExhausted(f"the namespace's network {subnet} is full")
    return found


def choose_link_address(pool: IPv4Network, taken: Collection[str], seed: str) -> str:
    """The virtual address of a service that others link to."""
    found = _free(pool, range(1, pool.num_addresses - 1), taken, seed)
    if found is None:
        raise PoolExhausted(f"SKYLARK_LINK_POOL {pool}: no address left for another linked service")
    return found


def _free(network: IPv4Network, numbers: range, taken: Collection[str], seed: str) -> str | None:
    for number in _round(len(numbers), seed):
        address = str(IPv4Address(int(network.network_address) + numbers[number]))
        if address not in taken:
            return address
    return None


def _round(count: int, seed: str) -> list[int] | range:
    """All numbers below `count`, from a place that the seed decides on, round to it."""
    if count <= 0:
        return range(0)
    first = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % count
    return [*range(first, count), *range(first)]
