"""Addresses out of pools: never given twice, spread by their seed, refused in words when there are none left."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from orchestrator.addresses import PoolExhausted, choose_instance_address, choose_link_address, choose_subnet

POOL = IPv4Network("10.208.0.0/12")
LINKS = IPv4Network("10.224.0.0/16")


def test_namespaces_get_subnets_of_the_pool_that_do_not_overlap() -> None:
    taken: set[str] = set()
    for number in range(1024):
        taken.add(choose_subnet(POOL, taken, f"sky/ns{number}"))

    assert len(taken) == 1024
    assert all(IPv4Network(subnet).subnet_of(POOL) for subnet in taken)
    with pytest.raises(PoolExhausted, match="SKYLARK_NETWORK_POOL"):
        choose_subnet(POOL, taken, "sky/one-more")


def test_same_seed_chooses_the_same_and_goes_round_what_is_taken() -> None:
    first = choose_subnet(POOL, (), "sky/ns")
    assert choose_subnet(POOL, (), "sky/ns") == first
    assert choose_subnet(POOL, [first], "sky/ns") != first
    assert choose_subnet(POOL, (), "other/ns") != first


def test_subnet_of_a_pool_given_with_another_size_is_gone_round() -> None:
    assert choose_subnet(IPv4Network("10.0.0.0/21"), ["10.0.1.0/24"], "any") == "10.0.4.0/22"


def test_pool_smaller_than_a_namespace_is_one_subnet() -> None:
    assert choose_subnet(IPv4Network("10.9.0.0/24"), (), "sky/ns") == "10.9.0.0/24"


def test_three_hundred_services_with_three_instances_fit_a_namespace() -> None:
    subnet, taken = choose_subnet(POOL, (), "sky/ns"), set[str]()
    for number in range(900):
        taken.add(choose_instance_address(subnet, taken, f"uuid {number}"))

    network = IPv4Network(subnet)
    assert len(taken) == 900
    assert {str(network[0]), str(network[1]), str(network[-1])}.isdisjoint(taken)
    assert all(IPv4Address(address) in network for address in taken)


def test_full_namespace_is_told() -> None:
    taken = {str(address) for address in IPv4Network("10.0.0.0/29")}
    with pytest.raises(PoolExhausted, match=r"10\.0\.0\.0/29 is full"):
        choose_instance_address("10.0.0.0/29", taken, "any")


def test_linked_services_get_addresses_of_their_own() -> None:
    taken: set[str] = set()
    for number in range(300):
        taken.add(choose_link_address(LINKS, taken, f"sky/ns/s{number}"))

    assert len(taken) == 300
    with pytest.raises(PoolExhausted, match="SKYLARK_LINK_POOL"):
        choose_link_address(IPv4Network("10.9.0.0/30"), {"10.9.0.1", "10.9.0.2"}, "any")
