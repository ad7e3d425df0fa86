"""A host that can't have virtual addresses carries no links, says so once, and serves all else."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.ingress.haproxy import Applied, HaProxy
from orchestrator.ingress.machine import claim_addresses, is_free
from orchestrator.ingress.routes import RouteTable
from tests.support.poll import eventually
from tests.support.rig import Rig
from worker.ingress import Ingress


class Proxy(HaProxy):
    """Notes the tables it is asked for."""

    def __init__(self) -> None:
        self.asked: list[RouteTable] = []

    def apply(self, table: RouteTable) -> Applied:
        self.asked.append(table)
        return Applied("nothing")


@pytest.fixture
def rig(sqlite_url: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(sqlite_url, tmp_path)
    made.create("db", instance_ports=[{"container_port": 5432, "endpoint_type": "internal-endpoint"}])
    made.create("ssh", instance_ports=[{"container_port": 22, "endpoint_type": "tcp-endpoint"}])
    made.create("web", linked_to_apps={"db": "db"})
    made.converge()
    yield made
    made.close()


def test_links_wait_for_addresses_that_the_host_can_not_have(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    proxy, faults = Proxy(), ["no root", "no root", ""]
    ingress = Ingress(
        proxy,
        rig.sessions,
        "skylark.local",
        tick_seconds=0.01,
        drain_seconds=1,
        may_act=lambda: True,
        claim_addresses=lambda: faults.pop(0) if faults else "",
    )
    with caplog.at_level(logging.INFO, "skylark.ingress"):
        ingress.start()
        eventually(lambda: len(proxy.asked) >= 3)
        ingress.stop()

    linked = [[route.port for route in table.tcp if route.address] for table in proxy.asked[:3]]
    assert linked[:2] == [[], []]
    assert 5432 in linked[2]
    assert all(len([route for route in table.tcp if not route.address]) == 1 for table in proxy.asked)
    told = [record.getMessage() for record in caplog.records if "links carry" in record.getMessage()]
    assert told == ["links carry no traffic, all else works: no root", "links carry traffic again"]


def test_pool_of_the_host_s_own_addresses_needs_nothing() -> None:
    assert claim_addresses("127.0.0.0/8") == ""


def test_pool_that_can_not_be_claimed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: "/bin/false")
    assert "198.18.0.0/24 can't be made addresses of this host, which takes root" in claim_addresses("198.18.0.0/24")
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    assert "`ip` (iproute2) is not there" in claim_addresses("198.18.0.0/24")


def test_port_shared_by_who_lets_others_share_it_is_free_to_those_only() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        assert is_free("127.0.0.9", port, shared=True)
        assert not is_free("127.0.0.9", port)
